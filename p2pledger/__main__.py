"""`python -m p2pledger` is the command `p2pledger`. Floor 11."""

from p2pledger.cli import main

if __name__ == "__main__":
    main()
