//! Databases: what their servers and drivers say of a query.

use super::rule::{Find, Gives, Harness, Rule, example};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "database.code",
        harness: Harness::Database,
        reason: "MySQL's number and complaint, as drivers print them",
        find: Find::First(
            r"^\(?(?:ERROR )?\d{4}(?:, [\x22']|,? ?\(\w{5}\)(?: at line \d+)?: ).*(?i:error|unknown|exist|denied|duplicate|ambiguous|cannot|can't|invalid|syntax|isn't in|not found|incorrect|must|too|no )",
        ),
        gives: Gives::Named("sql_error"),
        decides: example("sql", "SELECT", "(1064, \"You have an error in your SQL syntax; check the manual\")"),
        spares: example("sql", "SELECT year, note FROM t", "(1984, 'a select view')"),
    },
    Rule {
        name: "database.complaint",
        harness: Harness::Database,
        reason: "a query was refused, in the words of SQLite, PostgreSQL, MySQL, Oracle or DuckDB",
        find: Find::First(
            r"^(?i:(?:error(?: executing (?:the )?(?:sql )?query)?: ?|ERROR:? +|query failed: ?|sql error: ?|execution failed on sql.{0,400}?: ?|database error: ?|error while executing.{0,80}?: ?)*(?:near \x22.{0,80}\x22: syntax error|no such (?:table|column|function)|unknown column|unknown table|table '?\S+'? doesn't exist|(?:relation|column|function|table|schema) \x22[^\x22]+\x22.{0,80}? (?:does not exist|must appear)|syntax error at or near|ambiguous column|column \S+ (?:does not exist|is ambiguous|not found)|you have an error in your sql syntax|incorrect number of bindings|(?:catalog|binder|parser|conversion) error|ora-\d{5}|duplicate column name|misuse of aggregate|every derived table must|subquery returns more than|invalid use of group function|expression #\d+ of|operand should contain|unclosed quotation|incomplete input|unrecognized token))",
        ),
        gives: Gives::Named("sql_error"),
        decides: example("sql", "SELECT a FROM t", "Error executing query: Unknown column 'a' in 'field list'"),
        spares: example("sql", "SELECT * FROM errors", "[('TypeError', 3), ('Error: x', 4)]"),
    },
];
