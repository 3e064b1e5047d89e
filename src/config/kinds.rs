//! Sources and sinks: finds the kind that a table names and lets it read its options.

use toml::Table;

use super::document::Document;
use super::problem::KeyPath;

/// How a kind reads its table.
type Parse<T> = fn(Table) -> Result<T, toml::de::Error>;

/// Reads one table of options. `implied` is the kind where the table names none.
pub(super) fn read<T>(
    document: &mut Document<'_>,
    path: &KeyPath,
    table: &Table,
    implied: Option<&str>,
    kinds: &[(&'static str, Parse<T>)],
) -> Option<T> {
    let known = || kinds.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let named = match table.get("kind") {
        Some(toml::Value::String(name)) => Some(name.as_str()),
        Some(_) => None,
        None => implied,
    };
    let Some(named) = named else {
        document.report(&path.key("kind"), &format!("a kind is needed, one of {}", known()));
        return None;
    };
    let Some((_, parse)) = kinds.iter().find(|(name, _)| *name == named) else {
        let message = format!("there is no kind `{named}`, it is one of {}", known());
        document.report(&path.key("kind"), &message);
        return None;
    };
    let mut options = table.clone();
    options.remove("kind");
    read_options(document, path, options, *parse)
}

/// Reports every mistake: after one, goes on without the option that was wrong.
fn read_options<T>(
    document: &mut Document<'_>,
    path: &KeyPath,
    mut options: Table,
    parse: Parse<T>,
) -> Option<T> {
    let mut faulty = false;
    loop {
        let error = match parse(options.clone()) {
            Ok(_) if faulty => return None,
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        match culprit(&options, parse, error.message()) {
            Some(key) => {
                document.report(&path.key(&key), error.message());
                options.remove(&key);
                faulty = true;
            }
            // What is missing may be what was just taken away.
            None if faulty => return None,
            None => {
                document.report(path, error.message());
                return None;
            }
        }
    }
}

/// The option that causes this error: the one that still causes it when it stands alone. None
/// where the error is that something is missing.
fn culprit<T>(options: &Table, parse: Parse<T>, message: &str) -> Option<String> {
    let same = |table: Table| parse(table).is_err_and(|error| error.message() == message);
    if same(Table::new()) {
        return None;
    }
    let mut alone =
        options.iter().map(|(key, value)| (key, Table::from_iter([(key.clone(), value.clone())])));
    alone.find_map(|(key, table)| same(table).then(|| key.clone()))
}
