//! The configuration as it was written: several layers of TOML, merged, each value still knowing
//! where it stands, so that an error can name file, line and key.
//!
//! Every layer's text gets a range of positions of its own; a span in the merged tree therefore
//! names its layer.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::environment::PREFIX;
use super::problem::{KeyPath, Problem, Step};

/// Stands behind every mistake in a variable: its name may be what is wrong.
const VARIABLE_HELP: &str = " (a variable's name is STANDPIPE_ and the key in capitals, with __ \
                             between its levels, such as STANDPIPE_WAL__SYNC)";

/// Where a layer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A text with lines: a file, or the defaults that are built in.
    Text(String),
    /// An environment variable.
    Variable(String),
}

#[derive(Debug)]
struct Layer<'t> {
    origin: Origin,
    base: usize,
    text: &'t str,
}

/// The merged layers.
#[derive(Debug, Default)]
pub(super) struct Document<'t> {
    root: DeTable<'t>,
    layers: Vec<Layer<'t>>,
    /// What was found wrong so far.
    pub(super) problems: Vec<Problem>,
}

impl<'t> Document<'t> {
    /// Lays a text over what is there. What is not TOML is a problem and left out.
    pub(super) fn add_text(&mut self, name: &str, text: &'t str) {
        let base = self.add_layer(Origin::Text(name.to_owned()), text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let position = base + error.span().map_or(0, |span| span.start);
            self.report_at(position, String::new(), error.message().to_owned());
        }
        merge(&mut self.root, shift_table(table.into_inner(), base));
    }

    /// Lays one value over what is there. A value that is not TOML is taken as text.
    pub(super) fn add_variable(&mut self, name: &str, path: &KeyPath, text: &'t str) {
        let base = self.add_layer(Origin::Variable(name.to_owned()), text);
        let as_text = |_not_toml| Spanned::new(0..text.len(), DeValue::String(text.into()));
        let value = DeValue::parse(text).unwrap_or_else(as_text);
        let value = shift(value, base);
        if !set(&mut self.root, &path.0, value) {
            let message = "there is no such entry in the list; the first has the number 0";
            self.report_at(base, path.to_string(), message.to_owned());
        }
    }

    fn add_layer(&mut self, origin: Origin, text: &'t str) -> usize {
        // One position more than the text is long: an error may stand at its end.
        let base = self.layers.last().map_or(0, |last| last.base + last.text.len() + 1);
        self.layers.push(Layer { origin, base, text });
        base
    }

    /// The names in a table of tables, such as the streams below `stream`.
    pub(super) fn names(&self, section: &str) -> Vec<String> {
        let table = self.root.get(section).and_then(|value| value.get_ref().as_table());
        table.into_iter().flat_map(DeTable::keys).map(|key| key.get_ref().to_string()).collect()
    }

    /// Reads the whole document. What cannot be read is a problem and left out, so that one
    /// mistake does not hide the next.
    pub(super) fn read<T: DeserializeOwned + Default>(&mut self) -> T {
        loop {
            let root = Spanned::new(0..0, self.root.clone());
            let error = match T::deserialize(Deserializer::from(root)) {
                Ok(value) => return value,
                Err(error) => error,
            };
            let path = error.span().and_then(|span| self.path_at(&span));
            self.report(&path.clone().unwrap_or_default(), &in_plain_words(error.message()));
            // Each turn takes one entry away, so this ends.
            if !path.is_some_and(|path| remove(&mut self.root, &path)) {
                return T::default();
            }
        }
    }

    /// Notes that the value at this path is wrong.
    pub(super) fn report(&mut self, path: &KeyPath, message: &str) {
        let position = self.position(path);
        let location = self.location(position);
        let (key, mut message) = (path.to_string(), message.trim_end().to_owned());
        if location.starts_with(PREFIX) {
            message.push_str(VARIABLE_HELP);
        }
        self.problems.push(Problem { location, key, message, position: position.unwrap_or(0) });
    }

    fn report_at(&mut self, position: usize, key: String, message: String) {
        let location = self.location(Some(position));
        self.problems.push(Problem { location, key, message, position });
    }

    /// Where the path stands, or else the longest part of it that stands somewhere.
    fn position(&self, path: &KeyPath) -> Option<usize> {
        let mut found = None;
        let (first, rest) = path.0.split_first()?;
        let Step::Key(first) = first else { return None };
        let (key, mut value) = self.root.get_key_value(first.as_str())?;
        found.replace(key.span().start);
        for step in rest {
            let next = match (step, value.get_ref()) {
                (Step::Key(key), DeValue::Table(table)) => {
                    table.get_key_value(key.as_str()).map(|(key, value)| (key.span(), value))
                }
                (Step::Index(index), DeValue::Array(array)) => {
                    array.get(*index).map(|value| (value.span(), value))
                }
                _ => None,
            };
            let Some((span, next)) = next else { break };
            found.replace(span.start);
            value = next;
        }
        found
    }

    fn location(&self, position: Option<usize>) -> String {
        let layer = position.and_then(|position| {
            let layer = self.layers.iter().rev().find(|layer| layer.base <= position)?;
            Some((layer, position - layer.base))
        });
        match layer {
            Some((Layer { origin: Origin::Text(name), text, .. }, position)) => {
                let before = text.as_bytes().iter().take(position);
                let line = 1 + before.filter(|byte| **byte == b'\n').count();
                format!("{name}:{line}")
            }
            Some((Layer { origin: Origin::Variable(name), .. }, _)) => name.clone(),
            None => String::new(),
        }
    }

    /// The entry that a span belongs to: the one with the narrowest span around it.
    fn path_at(&self, span: &Range<usize>) -> Option<KeyPath> {
        let mut best = None;
        narrowest(&self.root, span, &KeyPath::default(), &mut best);
        best.map(|(_, path)| path)
    }
}

/// The deserializer speaks to programmers.
fn in_plain_words(message: &str) -> String {
    message.replace("unknown field", "unknown key").replace("expected usize", "expected a number")
}

fn narrowest(
    table: &DeTable<'_>,
    span: &Range<usize>,
    path: &KeyPath,
    best: &mut Option<(usize, KeyPath)>,
) {
    for (key, value) in table {
        let path = path.key(key.get_ref());
        for around in [key.span(), value.span()] {
            let holds = around.start <= span.start && span.end <= around.end;
            if holds && best.as_ref().is_none_or(|(width, _)| around.len() <= *width) {
                *best = Some((around.len(), path.clone()));
            }
        }
        match value.get_ref() {
            DeValue::Table(inner) => narrowest(inner, span, &path, best),
            DeValue::Array(array) => {
                for (index, value) in array.iter().enumerate() {
                    if let DeValue::Table(inner) = value.get_ref() {
                        narrowest(inner, span, &path.index(index), best);
                    }
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
}

/// Tables are merged; everything else is replaced. The later key's position counts.
fn merge<'t>(below: &mut DeTable<'t>, above: DeTable<'t>) {
    for (key, value) in above {
        let value = match (below.remove(key.get_ref().as_ref()), value.get_ref()) {
            (Some(old), DeValue::Table(_)) if old.get_ref().is_table() => {
                let span = value.span();
                let (DeValue::Table(mut old), DeValue::Table(new)) =
                    (old.into_inner(), value.into_inner())
                else {
                    continue;
                };
                merge(&mut old, new);
                Spanned::new(span, DeValue::Table(old))
            }
            _ => value,
        };
        below.insert(key, value);
    }
}

/// Sets a value, making tables on the way. Lists do not grow.
fn set<'t>(table: &mut DeTable<'t>, path: &[Step], value: Spanned<DeValue<'t>>) -> bool {
    let Some((Step::Key(key), rest)) = path.split_first() else { return false };
    let span = value.span();
    if rest.is_empty() {
        table.remove(key.as_str());
        table.insert(Spanned::new(span, key.clone().into()), value);
        return true;
    }
    if !table.contains_key(key.as_str()) {
        let empty = Spanned::new(span.clone(), DeValue::Table(DeTable::new()));
        table.insert(Spanned::new(span, key.clone().into()), empty);
    }
    let inner = table.get_mut(key.as_str()).map(Spanned::get_mut);
    match (inner, rest.split_first()) {
        (Some(DeValue::Table(inner)), _) => set(inner, rest, value),
        (Some(DeValue::Array(array)), Some((Step::Index(index), rest))) => {
            match array.get_mut(*index).map(Spanned::get_mut) {
                Some(DeValue::Table(inner)) => set(inner, rest, value),
                _ => false,
            }
        }
        _ => false,
    }
}

/// Takes an entry away; of something inside a list, the list.
fn remove(table: &mut DeTable<'_>, path: &KeyPath) -> bool {
    let keys = path.0.iter().map_while(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let mut keys = keys.peekable();
    let mut table = table;
    while let Some(key) = keys.next() {
        if keys.peek().is_none() {
            return table.remove(key).is_some();
        }
        match table.get_mut(key).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => table = inner,
            _ => return false,
        }
    }
    false
}

fn shift_table(table: DeTable<'_>, base: usize) -> DeTable<'_> {
    let entries = table.into_iter().map(|(key, value)| {
        let span = key.span();
        let key = Spanned::new(span.start + base..span.end + base, key.into_inner());
        (key, shift(value, base))
    });
    entries.collect()
}

fn shift(value: Spanned<DeValue<'_>>, base: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let shifted = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shift_table(table, base)),
        DeValue::Array(mut array) => {
            for item in array.iter_mut() {
                let taken = std::mem::replace(item, Spanned::new(0..0, DeValue::Boolean(false)));
                *item = shift(taken, base);
            }
            DeValue::Array(array)
        }
        scalar @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)) => scalar,
    };
    Spanned::new(span.start + base..span.end + base, shifted)
}
