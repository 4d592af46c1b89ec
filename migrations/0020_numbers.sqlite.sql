-- SQLite looks at each record and has no index of what they are found by; see 0020_numbers.postgres.sql.

SELECT 1;
