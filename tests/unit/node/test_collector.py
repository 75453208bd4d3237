"""Garbage is collected seldom while a node runs, and as before afterwards."""

import gc

import pytest
from p2pledger.node.collector import collecting_seldom


def test_what_stays_is_not_looked_through_and_all_is_as_it_was_after():
    before, kept = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(ValueError, match="inside"), collecting_seldom():
        assert gc.get_freeze_count() > kept
        assert gc.get_threshold() > before
        raise ValueError("inside")
    assert gc.get_threshold() == before and gc.get_freeze_count() == 0
