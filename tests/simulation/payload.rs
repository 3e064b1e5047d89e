//! What an event of the simulation is: a number that no other has, and bytes that can be checked.

use std::fmt;

/// Which event, of which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) client: u32,
    pub(crate) serial: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.client, self.serial)
    }
}

fn filler(id: Id) -> u8 {
    b'a' + u8::try_from(id.serial % 26).unwrap()
}

/// The payload: the number, the length of the filler, the filler.
pub(crate) fn encode(id: Id, filler_bytes: usize) -> Vec<u8> {
    let mut payload = format!("<{id}.{filler_bytes}>").into_bytes();
    payload.resize(payload.len() + filler_bytes, filler(id));
    payload
}

/// The events of a record or a body, whatever delimiters stand between them.
pub(crate) fn decode_all(mut bytes: &[u8]) -> Result<Vec<Id>, String> {
    let mut ids = Vec::new();
    while !bytes.is_empty() {
        if let Some(rest) = bytes.strip_prefix(b"\n") {
            bytes = rest;
            continue;
        }
        let (id, rest) = decode(bytes)
            .ok_or_else(|| format!("{:?} is no event", String::from_utf8_lossy(bytes)))?;
        ids.push(id);
        bytes = rest;
    }
    Ok(ids)
}

fn decode(bytes: &[u8]) -> Option<(Id, &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'>')?;
    let head = std::str::from_utf8(bytes.get(1..end)?).ok()?;
    let mut numbers = head.split('.').map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    let id = Id { client: next()?, serial: next()? };
    let length = usize::try_from(next()?).ok()?;
    let body = bytes.get(end + 1..end + 1 + length)?;
    let filler = vec![filler(id); length];
    let whole = bytes[0] == b'<' && body == filler.as_slice();
    whole.then(|| (id, &bytes[end + 1 + length..]))
}
