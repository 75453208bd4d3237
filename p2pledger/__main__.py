"""`python -m p2pledger` is the command `p2pledger`. Floor 10."""

from p2pledger.cli import main

if __name__ == "__main__":
    main()
