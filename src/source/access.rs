//! Who may write which streams through a unix socket.
//!
//! The kernel says who is at the other end (`SO_PEERCRED`): the effective user and group of the process
//! at the moment in which it connected. A source without rules asks nobody: whoever may open the
//! socket may write. With rules, what no rule allows is refused, for root as for everybody else.

use std::fs;
use std::io;

use serde::de::{Deserialize, Deserializer, Error};
use standpipe_wal::StreamName;

/// Where the names of users and groups are looked up. Names that only a directory service knows
/// are given by their number.
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// One `[[source.allow]]`: a peer of this user and this group may write these streams.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allow {
    /// Any user unless given.
    #[serde(default)]
    user: Option<Account>,
    /// Any group unless given.
    #[serde(default)]
    group: Option<Account>,
    streams: Vec<Pattern>,
}

/// A user or a group: its name or its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    Name(String),
    Number(u32),
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(i64),
            Text(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Number(number)) => u32::try_from(number)
                .map(Self::Number)
                .map_err(|_range| D::Error::custom(format!("{number} is no user or group"))),
            Ok(Written::Text(text)) if text.is_empty() || text.contains(':') => {
                Err(D::Error::custom(format!("{text:?} is no name of a user or a group")))
            }
            Ok(Written::Text(text)) => Ok(text.parse().map_or(Self::Name(text), Self::Number)),
            Err(_) => Err(D::Error::custom("a user or a group is a name or a number")),
        }
    }
}

/// The name of a stream, or its beginning and a `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exactly(StreamName),
    Begins(String),
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refuse = |error: &dyn std::fmt::Display| {
            D::Error::custom(format!(
                "{text:?} is no stream, and no beginning of one with a `*`: {error}"
            ))
        };
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Begins(String::new())),
            // A beginning is one of a name if it would be a name itself; ".." goes on as one.
            Some(begins) => match format!("{begins}x").parse::<StreamName>() {
                Ok(_) => Ok(Self::Begins(begins.to_owned())),
                Err(error) => Err(refuse(&error)),
            },
            None => text.parse().map(Self::Exactly).map_err(|error| refuse(&error)),
        }
    }
}

impl Pattern {
    fn matches(&self, stream: &StreamName) -> bool {
        match self {
            Self::Exactly(name) => name == stream,
            Self::Begins(begins) => stream.as_str().starts_with(begins),
        }
    }
}

/// The rules of a source, with numbers for names.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// Absent: everybody may write everything.
    rules: Option<Vec<Rule>>,
}

#[derive(Debug)]
struct Rule {
    user: Option<u32>,
    group: Option<u32>,
    streams: Vec<Pattern>,
}

/// What one peer may write.
#[derive(Clone, Debug)]
pub(crate) struct Grants<'a> {
    patterns: Option<Vec<&'a Pattern>>,
}

impl Access {
    /// Looks the names up.
    ///
    /// # Errors
    /// Where the machine has no such user or group.
    pub(crate) fn resolve(allow: Option<&[Allow]>) -> io::Result<Self> {
        let Some(allow) = allow else { return Ok(Self::default()) };
        let rules = allow.iter().map(|allow| {
            Ok(Rule {
                user: allow.user.as_ref().map(user_number).transpose()?,
                group: allow.group.as_ref().map(group_number).transpose()?,
                streams: allow.streams.clone(),
            })
        });
        Ok(Self { rules: Some(rules.collect::<io::Result<_>>()?) })
    }

    /// What a peer may write. One whose credentials are not known may write only what everybody may.
    pub(crate) fn grants(&self, peer: Option<(u32, u32)>) -> Grants<'_> {
        let Some(rules) = &self.rules else { return Grants { patterns: None } };
        let allows = |wanted: Option<u32>, is: Option<u32>| wanted.is_none() || wanted == is;
        let (user, group) = peer.unzip();
        let matching =
            rules.iter().filter(|rule| allows(rule.user, user) && allows(rule.group, group));
        Grants { patterns: Some(matching.flat_map(|rule| &rule.streams).collect()) }
    }
}

impl Grants<'_> {
    /// Whether this stream is among it.
    pub(crate) fn allow(&self, stream: &StreamName) -> bool {
        let any = |patterns: &Vec<&Pattern>| patterns.iter().any(|pattern| pattern.matches(stream));
        self.patterns.as_ref().is_none_or(any)
    }
}

fn user_number(account: &Account) -> io::Result<u32> {
    number(account, "user", USERS)
}

/// The number of a group.
pub(crate) fn group_number(account: &Account) -> io::Result<u32> {
    number(account, "group", GROUPS)
}

fn number(account: &Account, what: &str, file: &str) -> io::Result<u32> {
    let name = match account {
        Account::Number(number) => return Ok(*number),
        Account::Name(name) => name,
    };
    let entries = fs::read_to_string(file)
        .map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))?;
    look_up(&entries, name).ok_or_else(|| {
        let text = format!("there is no {what} {name:?} in {file}; create it, or give its number");
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

/// In both files an entry is a line `name:password:number:…`.
fn look_up(entries: &str, name: &str) -> Option<u32> {
    let mut entries = entries.lines().map(|line| line.split(':'));
    entries.find_map(|mut entry| {
        let found = entry.next() == Some(name);
        found.then(|| entry.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Source {
        allow: Vec<Allow>,
    }

    fn read(text: &str) -> Result<Vec<Allow>, String> {
        toml::from_str::<Source>(text).map(|source| source.allow).map_err(|e| e.to_string())
    }

    fn may(access: &Access, peer: Option<(u32, u32)>) -> Vec<&'static str> {
        let streams = ["orders", "orders.eu", "app-1", "app", "open"];
        let grants = access.grants(peer);
        streams.into_iter().filter(|stream| grants.allow(&stream.parse().unwrap())).collect()
    }

    #[test]
    fn only_what_a_rule_allows_is_allowed() {
        let allow = read(
            "[[allow]]\nuser = 1000\nstreams = ['orders']\n\
             [[allow]]\ngroup = '50'\nstreams = ['app-*']\n\
             [[allow]]\nuser = 7\ngroup = 50\nstreams = ['*']\n\
             [[allow]]\nstreams = ['open']\n",
        )
        .unwrap();
        let access = Access::resolve(Some(&allow)).unwrap();
        assert_eq!(may(&access, Some((1000, 1000))), ["orders", "open"]);
        assert_eq!(may(&access, Some((1000, 50))), ["orders", "app-1", "open"]);
        assert_eq!(may(&access, Some((7, 50))).len(), 5);
        assert_eq!(may(&access, Some((7, 7))), ["open"]);
        assert_eq!(may(&access, Some((0, 0))), ["open"], "root is nobody special");
        assert_eq!(may(&access, None), ["open"]);
        assert_eq!(may(&Access::default(), None).len(), 5, "without rules nobody is asked");
        assert!(may(&Access::resolve(Some(&[])).unwrap(), Some((0, 0))).is_empty());
    }

    #[test]
    fn names_are_looked_up_and_mistakes_are_named() {
        let passwd = "root:x:0:0::/:/bin/sh\nbroken\napp:x:1001:50::/:/bin/sh\n";
        assert_eq!(look_up(passwd, "app"), Some(1001));
        assert_eq!(look_up(passwd, "ap"), None);
        assert_eq!(look_up(passwd, "broken"), None);
        let root = read("[[allow]]\nuser = 'root'\nstreams = ['*']").unwrap();
        assert_eq!(may(&Access::resolve(Some(&root)).unwrap(), Some((0, 9))).len(), 5);
        let nobody = read("[[allow]]\ngroup = 'no-such-group'\nstreams = ['*']").unwrap();
        let error = Access::resolve(Some(&nobody)).unwrap_err().to_string();
        assert!(error.contains("no-such-group") && error.contains(GROUPS), "{error}");
        for (text, mentions) in [
            ("[[allow]]\nuser = -1\nstreams = []", "-1"),
            ("[[allow]]\nuser = ''\nstreams = []", "no name"),
            ("[[allow]]\nuser = 1.5\nstreams = []", "a name or a number"),
            ("[[allow]]\nstreams = ['a*b']", "a*b"),
            ("[[allow]]\nstreams = ['a b*']", "a b*"),
            ("[[allow]]\nuser = 1", "streams"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(mentions), "{text}: {error}");
        }
    }
}
