//! An event's name in what is delivered: at-least-once becomes effectively-once where the reader
//! drops the second event of a name.
//!
//! The name is `log_id-offset`. It is put in front of the event, or into it as its first members if
//! it is a JSON object: by its first and last bytes, without reading what lies between. An object
//! stays an object, nothing but the members is added, and all else is left as it is and counted.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use standpipe_wal::LogId;

use crate::config::{Identity, IdentityForm};
use crate::router::aggregate::Lot;

/// What is added to a stream's events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Naming {
    time: bool,
    form: IdentityForm,
    /// An event that would be larger with its name stays without.
    event_bytes_max: usize,
    /// The log as it is named now, for events of which nobody knows in which they were written.
    log_id: LogId,
}

/// Events that stay without a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unnamed {
    /// They are no JSON objects.
    pub(crate) not_object: u64,
    /// They are delivered as they came.
    pub(crate) raw: u64,
    /// With it they would not fit a record.
    pub(crate) too_large: u64,
}

/// Writes names. One for all events of a call, so that it allocates once.
#[derive(Debug)]
pub(super) struct Namer {
    naming: Naming,
    text: Vec<u8>,
    /// Where the offset's digits begin in `text`, and what follows them.
    head: usize,
    tail: Vec<u8>,
}

/// Where a name goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// So many bytes of the event come first.
    at: usize,
    /// Whether other members follow.
    members_follow: bool,
}

/// A log's name as two hexadecimal digits per byte, a dash, the offset's digits.
const ID_BYTES_MAX: usize = 32 + 1 + 20;
const TIME_BYTES: usize = "2026-01-01T00:00:00.000Z".len();
const MEMBER_ID: &str = "\"standpipe_id\":\"";
const MEMBER_TIME: &str = "\",\"standpipe_time\":\"";

impl Naming {
    /// What was configured, for events of so many bytes at most.
    pub(crate) fn new(
        identity: Identity,
        form: IdentityForm,
        event_bytes_max: usize,
        log_id: LogId,
    ) -> Option<Self> {
        let time = match identity {
            Identity::None => return None,
            Identity::Id => false,
            Identity::IdAndTime => true,
        };
        Some(Self { time, form, event_bytes_max, log_id })
    }

    /// What a name takes at most.
    pub(super) fn bytes_max(self) -> usize {
        let around = match self.form {
            IdentityForm::Members => MEMBER_ID.len() + MEMBER_TIME.len() + "\",".len(),
            IdentityForm::Prefix => "  ".len(),
        };
        ID_BYTES_MAX + around + if self.time { TIME_BYTES } else { 0 }
    }
}

impl Namer {
    pub(super) fn new(naming: Naming) -> Self {
        Self { naming, text: Vec::with_capacity(naming.bytes_max()), head: 0, tail: Vec::new() }
    }

    /// Prepares what all events of a lot share.
    pub(super) fn begin(&mut self, lot: &Lot<'_>) {
        let members = self.naming.form == IdentityForm::Members;
        self.text.clear();
        self.tail.clear();
        if members {
            self.text.extend_from_slice(MEMBER_ID.as_bytes());
        }
        for byte in lot.log_id.unwrap_or(self.naming.log_id).as_bytes() {
            self.text.extend([byte >> 4, byte & 15].map(hex_digit));
        }
        self.text.push(b'-');
        self.head = self.text.len();
        if self.naming.time {
            self.tail.extend_from_slice(if members { MEMBER_TIME.as_bytes() } else { b" " });
            let time = UNIX_EPOCH + Duration::from_millis(lot.time_ms);
            // A vector takes whatever it is given.
            let _written = write!(self.tail, "{}", humantime::format_rfc3339_millis(time)).is_ok();
        }
        self.tail.push(if members { b'"' } else { b' ' });
    }

    /// The event in three parts, the second being its name; or why it has none.
    pub(super) fn name<'a>(
        &'a mut self,
        offset: u64,
        event: &'a [u8],
        unnamed: &mut Unnamed,
    ) -> [&'a [u8]; 3] {
        let place = match self.naming.form {
            IdentityForm::Prefix => Some(Place { at: 0, members_follow: false }),
            IdentityForm::Members => in_object(event),
        };
        let Some(Place { at, members_follow }) = place else {
            unnamed.not_object += 1;
            return [event, &[], &[]];
        };
        self.text.truncate(self.head);
        push_decimal(&mut self.text, offset);
        self.text.extend_from_slice(&self.tail);
        if members_follow {
            self.text.push(b',');
        }
        if event.len() + self.text.len() > self.naming.event_bytes_max {
            unnamed.too_large += 1;
            return [event, &[], &[]];
        }
        let (before, behind) = event.split_at_checked(at).unwrap_or((event, &[]));
        [before, &self.text, behind]
    }
}

/// Where the first member of a JSON object goes, if this is one: it begins with a brace that a name
/// or the end follows, and ends with a brace.
fn in_object(event: &[u8]) -> Option<Place> {
    let begin = event.iter().position(|byte| !is_space(*byte))?;
    let end = event.iter().rposition(|byte| !is_space(*byte))?;
    if event.get(begin) != Some(&b'{') || event.get(end) != Some(&b'}') {
        return None;
    }
    let inside = event.get(begin + 1..)?;
    let next = inside.iter().position(|byte| !is_space(*byte))?;
    let members_follow = match inside.get(next)? {
        b'"' => true,
        b'}' if begin + 1 + next == end => false,
        _ => return None,
    };
    Some(Place { at: begin + 1, members_follow })
}

/// What JSON takes for space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

fn push_decimal(to: &mut Vec<u8>, mut number: u64) {
    let begin = to.len();
    loop {
        to.extend(u8::try_from(number % 10).map(|digit| b'0' + digit));
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to.get_mut(begin..).unwrap_or_default().reverse();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};
    use standpipe_wal::Offset;

    use super::*;

    fn lot() -> Lot<'static> {
        Lot { base: Offset::ZERO, raw: false, log_id: None, time_ms: 1_700_000_000_123, body: &[] }
    }

    fn named(identity: Identity, form: IdentityForm, event: &[u8]) -> (Vec<u8>, Unnamed) {
        let naming = Naming::new(identity, form, 999, log_id()).unwrap();
        let (mut namer, mut unnamed) = (Namer::new(naming), Unnamed::default());
        namer.begin(&lot());
        let text = namer.name(1234, event, &mut unnamed).concat();
        assert!(text.len() <= event.len() + naming.bytes_max());
        (text, unnamed)
    }

    fn text(identity: Identity, form: IdentityForm, event: &str) -> String {
        String::from_utf8(named(identity, form, event.as_bytes()).0).unwrap()
    }

    fn log_id() -> LogId {
        LogId::new([0xab; 16])
    }

    #[test]
    fn the_name_is_of_the_log_in_which_the_event_was_written() {
        let naming = Naming::new(Identity::Id, IdentityForm::Prefix, 999, log_id()).unwrap();
        let mut namer = Namer::new(naming);
        namer.begin(&Lot { log_id: Some(LogId::new([0x01; 16])), ..lot() });
        let text = namer.name(u64::MAX, b"e", &mut Unnamed::default()).concat();
        assert_eq!(text, format!("{}-{} e", "01".repeat(16), u64::MAX).as_bytes());
    }

    const ID: &str = "abababababababababababababababab-1234";

    #[test]
    fn a_name_stands_before_the_event_or_is_its_first_member() {
        let prefix = |identity| text(identity, IdentityForm::Prefix, "hello");
        assert_eq!(prefix(Identity::Id), format!("{ID} hello"));
        assert_eq!(prefix(Identity::IdAndTime), format!("{ID} 2023-11-14T22:13:20.123Z hello"));
        let member = |event| text(Identity::Id, IdentityForm::Members, event);
        assert_eq!(member(r#"{"a":1}"#), format!(r#"{{"standpipe_id":"{ID}","a":1}}"#));
        assert_eq!(member(r#" { "a":1 } "#), format!(r#" {{"standpipe_id":"{ID}", "a":1 }} "#));
        assert_eq!(member("{}"), format!(r#"{{"standpipe_id":"{ID}"}}"#));
        assert_eq!(member("{ }"), format!(r#"{{"standpipe_id":"{ID}" }}"#));
        assert_eq!(
            text(Identity::IdAndTime, IdentityForm::Members, r#"{"a":1}"#),
            format!(
                r#"{{"standpipe_id":"{ID}","standpipe_time":"2023-11-14T22:13:20.123Z","a":1}}"#
            )
        );
    }

    #[test]
    fn what_is_no_object_stays_as_it_is_and_is_counted() {
        for event in [
            "",
            " ",
            "{",
            "}",
            "text",
            "[1]",
            "[{\"a\":1}]",
            "{a}",
            "{1}",
            "{}}",
            "{\"a\":1",
            "\"{}\"",
        ] {
            let (text, unnamed) = named(Identity::Id, IdentityForm::Members, event.as_bytes());
            assert_eq!(text, event.as_bytes());
            assert_eq!(unnamed, Unnamed { not_object: 1, ..Unnamed::default() }, "{event}");
        }
    }

    #[test]
    fn an_event_that_would_not_fit_stays_as_it_is() {
        let naming = Naming::new(Identity::Id, IdentityForm::Prefix, 99, log_id()).unwrap();
        for (size, fits) in [(100 - 1 - ID.len() - 1, true), (100 - ID.len() - 1, false)] {
            let (mut namer, mut unnamed) = (Namer::new(naming), Unnamed::default());
            namer.begin(&lot());
            let event = vec![b'x'; size];
            let parts = namer.name(1234, &event, &mut unnamed).concat();
            assert_eq!(parts.len(), if fits { 99 } else { size });
            assert_eq!(unnamed.too_large, u64::from(!fits));
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((".{0,6}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Any JSON, however it is written: an object gains its name and nothing else, everything
        /// else stays byte for byte.
        #[test]
        fn objects_stay_objects_and_all_else_stays_as_it_is(
            value in json(),
            pretty in any::<bool>(),
            around in ("[ \t]{0,2}", "[ \r]{0,2}"),
        ) {
            let written = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let event = format!("{}{written}{}", around.0, around.1);
            prop_assume!(event.len() < 800);
            let (text, unnamed) = named(Identity::Id, IdentityForm::Members, event.as_bytes());
            let Value::Object(members) = value else {
                prop_assert_eq!(text, event.as_bytes());
                prop_assert_eq!(unnamed.not_object, 1);
                return Ok(());
            };
            prop_assert_eq!(unnamed, Unnamed::default());
            let mut found: Map<String, Value> = serde_json::from_slice(&text).unwrap();
            let id = found.remove("standpipe_id");
            prop_assert_eq!(id.as_ref().and_then(Value::as_str), Some(ID));
            prop_assert_eq!(found, members);
        }

        /// Any bytes: taking the name out again gives the event.
        #[test]
        fn nothing_but_the_name_is_added(event in proptest::collection::vec(any::<u8>(), 0..60)) {
            let (text, unnamed) = named(Identity::Id, IdentityForm::Members, &event);
            if unnamed == Unnamed::default() {
                let name = format!("\"standpipe_id\":\"{ID}\"");
                let at = memchr::memmem::find(&text, name.as_bytes()).unwrap();
                let mut rest = text[at + name.len()..].to_vec();
                if rest.first() == Some(&b',') {
                    rest.remove(0);
                }
                prop_assert_eq!([&text[..at], &rest].concat(), event);
            } else {
                prop_assert_eq!(text, event);
            }
        }
    }
}
