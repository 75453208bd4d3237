"""In the place of sqlite3, which pyodide comes without: names that are imported and never used."""


class Error(Exception):
    pass


class Connection:
    pass
