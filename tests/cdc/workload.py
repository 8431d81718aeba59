"""Clients that change a table at random; seeded, though not how they interleave."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from tests.cdc.tables import value_of

# Keys that rows are made of; so few that clients meet.
KEYS = 150
# Rows with keys from here on are put in last, to see that all before them has come.
MARKS_BEGIN = 1_000_000
MARKS = 16
# Seconds between transactions of a client: slow enough for all that comes behind it.
PAUSE_S = 0.02
# Seconds a client may take for its last transaction; reached only when a test fails.
PATIENCE_S = 60.0


class Client:
    """One session: transactions of some statements, of which some are rolled back."""

    def __init__(
        self,
        open_session: Callable[[], Any],
        table: str,
        columns: Sequence[str],
        insert: str,
        conflict: tuple[type[Exception], ...],
        seed: int,
        truncates: float = 0,
    ) -> None:
        self._open = open_session
        self._table = table
        self._insert = insert
        self._columns = list(columns)
        self._conflict = conflict
        self._chance = random.Random(seed)
        self._truncates = truncates
        self.committed = 0
        self.undone = 0

    def run(self, end: threading.Event) -> None:
        """Make transactions, with a little pause after each, until it is to end."""
        session = self._open()
        try:
            while not end.wait(PAUSE_S):
                self._transaction(session)
        finally:
            session.close()

    def _transaction(self, session: Any) -> None:
        chance = self._chance
        cursor = session.cursor()
        try:
            # One in thirty is long.
            for _ in range(chance.randint(1, 6) if chance.random() < 0.97 else 60):
                self._statement(cursor)
        except self._conflict:  # two clients want one key or wait for each other
            session.rollback()
            self.undone += 1
            return
        if chance.random() < 0.15:
            session.rollback()
            self.undone += 1
        else:
            session.commit()
            self.committed += 1

    def _statement(self, cursor: Any) -> None:
        chance = self._chance
        key = chance.randrange(KEYS)
        kind = chance.random()
        if chance.random() < self._truncates:
            cursor.execute(f"truncate table {self._table}")
        elif kind < 0.35:
            put(cursor, self._insert, self._columns, key, chance)
        elif kind < 0.80:
            some = chance.sample(self._columns[1:], chance.randint(1, 3))
            assigned = ", ".join(f"{column} = %s" for column in some)
            values = [value_of(column, chance) for column in some]
            most = key + chance.choice([0, 0, 0, 5])  # several rows by one statement
            cursor.execute(
                f"update {self._table} set {assigned} where id between %s and %s",
                [*values, key, most],
            )
        elif kind < 0.92:
            cursor.execute(f"delete from {self._table} where id = %s", [key])
        else:
            self._move(cursor, key, chance.randrange(KEYS))

    def _move(self, cursor: Any, key: int, to: int) -> None:
        """Give a row another key. Its note is written anew: an unchanged one may not be sent."""
        note = value_of("note", self._chance)
        cursor.execute(
            f"update {self._table} set id = %s, note = %s where id = %s", [to, note, key]
        )


def put(cursor: Any, insert: str, columns: Sequence[str], key: int, chance: random.Random) -> None:
    """Insert a row, by a statement that has places for columns and values."""
    values = [key, *(value_of(column, chance) for column in columns[1:])]
    marks = ", ".join("%s" for _ in values)
    cursor.execute(insert.format(columns=", ".join(columns), values=marks), values)


class Clients:
    """Several clients in threads of their own, from the beginning of a context to its end."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = clients
        self._errors: list[BaseException] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(client,), daemon=True) for client in clients
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if error[0] is not None:
            return
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"
        if self._errors:
            raise self._errors[0]
        assert sum(client.committed for client in self._clients) > 0
        assert sum(client.undone for client in self._clients) > 0

    def _run(self, client: Client) -> None:
        try:
            client.run(self._end)
        except BaseException as error:
            self._errors.append(error)
