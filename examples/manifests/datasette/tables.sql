CREATE TABLE accounts (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, street TEXT, city TEXT, region TEXT, zip TEXT, country TEXT, phone TEXT, website TEXT,
    type TEXT, number TEXT, active INTEGER, autotask_id TEXT,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE contacts (
    id INTEGER PRIMARY KEY, account_id INTEGER REFERENCES accounts (id), first_name TEXT, last_name TEXT, email TEXT, phone TEXT, mobile TEXT,
    is_primary INTEGER, active INTEGER, autotask_id TEXT,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TRIGGER accounts_changed AFTER UPDATE ON accounts WHEN new.updated_at = old.updated_at BEGIN
    UPDATE accounts SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id;
END;
CREATE TRIGGER contacts_changed AFTER UPDATE ON contacts WHEN new.updated_at = old.updated_at BEGIN
    UPDATE contacts SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id;
END;
