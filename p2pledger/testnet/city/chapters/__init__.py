"""The stories of the day. Each says its own transactions, and expects what a node answers afterwards."""
