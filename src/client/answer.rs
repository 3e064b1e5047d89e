//! What an agent answers in the acknowledged mode.

/// One line of the agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The hello was taken.
    Ok,
    /// Every line up to this number is durable, or was refused before.
    Ack(u64),
    /// A line was refused.
    Nak {
        /// Its number.
        line: u64,
        /// The stable word.
        code: String,
        /// The sentence.
        text: String,
    },
    /// The connection is refused, and ends.
    Err(String),
    /// Nothing of these.
    Unknown(String),
}

impl Answer {
    /// Reads a line without its line feed.
    pub fn parse(line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(line);
        let unknown = || Self::Unknown(text.clone().into_owned());
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "OK" => Self::Ok,
            "ERR" => Self::Err(rest.to_owned()),
            "ACK" => rest.parse().map_or_else(|_| unknown(), Self::Ack),
            "NAK" => {
                let mut words = rest.splitn(3, ' ');
                match (words.next().map(str::parse), words.next()) {
                    (Some(Ok(line)), Some(code)) => Self::Nak {
                        line,
                        code: code.to_owned(),
                        text: words.next().unwrap_or_default().to_owned(),
                    },
                    _ => unknown(),
                }
            }
            _ => unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let nak = Answer::Nak { line: 7, code: "empty".into(), text: "the payload".into() };
        for (line, answer) in [
            ("OK version=2", Answer::Ok),
            ("ACK 12", Answer::Ack(12)),
            ("NAK 7 empty the payload", nak),
            ("ERR unsupported x", Answer::Err("unsupported x".into())),
            ("ACK x", Answer::Unknown("ACK x".into())),
            ("NAK 7", Answer::Unknown("NAK 7".into())),
            ("HTTP/1.1 400", Answer::Unknown("HTTP/1.1 400".into())),
        ] {
            assert_eq!(Answer::parse(line.as_bytes()), answer);
        }
    }
}
