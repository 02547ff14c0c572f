"""The tables of a history, for whoever asks with plain `sqlite3` or DuckDB (docs/reference).

Positions are `sequence << 20 | index`, times microseconds since the Unix epoch; the views write
both out. What can be asked often has an index; they are made when the tables are first filled.
"""

from __future__ import annotations

SCHEMA = 1
"""Raised with every change of tables or of what stands in them: an older file is made anew."""

TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS commits (
    sequence INTEGER PRIMARY KEY,
    time     INTEGER NOT NULL,
    events   INTEGER NOT NULL,  -- how many events the log has up to the end of this commit
    hash     BLOB NOT NULL      -- SHA-256 of the commit as it is stored in the log
);

CREATE TABLE IF NOT EXISTS events (
    position   INTEGER PRIMARY KEY,
    type       TEXT NOT NULL,
    allocation INTEGER          -- number of the allocation it is about: 17 for a17
);

-- An address in the hands of one pod, from the one position on and up to the other, exclusive.
CREATE TABLE IF NOT EXISTS intervals (
    id            INTEGER PRIMARY KEY,
    address       TEXT NOT NULL,
    pool          TEXT NOT NULL,
    allocation    INTEGER NOT NULL,
    namespace     TEXT NOT NULL,
    pod           TEXT NOT NULL,
    uid           TEXT NOT NULL,
    interface     TEXT NOT NULL,
    node          TEXT NOT NULL,
    held          INTEGER NOT NULL,  -- 1: kept for the next pod in its place
    from_position INTEGER NOT NULL,
    from_time     INTEGER NOT NULL,
    to_position   INTEGER,           -- NULL: it lasts
    to_time       INTEGER
);

-- What events without an allocation are about: pod (namespace/name), identity (uid/interface),
-- node, pool, subnet, reservation.
CREATE TABLE IF NOT EXISTS touches (
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (kind, name, position)
) WITHOUT ROWID;

-- The state behind a commit, from which any state is a short fold away (zlib; ADR 56).
CREATE TABLE IF NOT EXISTS keyframes (
    sequence INTEGER PRIMARY KEY,
    events   INTEGER NOT NULL,
    image    BLOB NOT NULL
);

CREATE VIEW IF NOT EXISTS holders AS
SELECT address, pool, 'a' || allocation AS allocation, namespace, pod, uid, interface, node, held,
       strftime('%Y-%m-%dT%H:%M:%S', from_time / 1000000, 'unixepoch')
           || printf('.%06dZ', from_time % 1000000) AS since,
       strftime('%Y-%m-%dT%H:%M:%S', to_time / 1000000, 'unixepoch')
           || printf('.%06dZ', to_time % 1000000) AS until,
       (from_position >> 20) || '.' || (from_position & 1048575) AS from_position,
       (to_position >> 20) || '.' || (to_position & 1048575) AS to_position
FROM intervals;

CREATE VIEW IF NOT EXISTS event_list AS
SELECT (position >> 20) || '.' || (position & 1048575) AS position,
       strftime('%Y-%m-%dT%H:%M:%S', time / 1000000, 'unixepoch')
           || printf('.%06dZ', time % 1000000) AS time,
       type, 'a' || allocation AS allocation
FROM events JOIN commits ON commits.sequence = position >> 20;
"""

INDEXES = """
CREATE INDEX IF NOT EXISTS commits_time ON commits (time);
CREATE INDEX IF NOT EXISTS events_allocation ON events (allocation, position)
    WHERE allocation IS NOT NULL;
CREATE INDEX IF NOT EXISTS intervals_address ON intervals (address, from_position);
CREATE INDEX IF NOT EXISTS intervals_allocation ON intervals (allocation);
CREATE INDEX IF NOT EXISTS intervals_pod ON intervals (pod, namespace);
CREATE INDEX IF NOT EXISTS intervals_uid ON intervals (uid);
CREATE INDEX IF NOT EXISTS intervals_node ON intervals (node, from_position);
CREATE INDEX IF NOT EXISTS intervals_pool ON intervals (pool, from_position);
"""
