//! The output of `strace -f -y -a 1 -s LARGE`, as calls with a beginning and an end.
//!
//! strace stops a thread when it enters a call and when it leaves it, and writes what it sees in
//! that order. A call during which another thread was seen is written on two lines, `<unfinished …>`
//! and `<… resumed>`. So the numbers of lines are a true order of what happened: a call that ended
//! on an earlier line than another began on did end before it.

use std::collections::HashMap;

/// One system call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// What stands between the parentheses.
    pub(crate) arguments: String,
    /// What it returned; `None` where the process ended inside it.
    pub(crate) result: Option<i64>,
    /// The line on which it began.
    pub(crate) began: usize,
    /// The line on which it ended.
    pub(crate) ended: usize,
}

/// All calls that ended, in the order in which they did.
///
/// # Panics
/// On a line that is not strace's: a checker that skips what it does not understand proves nothing.
pub(crate) fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (String, usize)> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let (thread, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no thread: {line}"));
        // The thread's number is padded.
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(beginning) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (beginning.to_owned(), number));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (_name, end) = resumed.split_once(" resumed>").expect("a resumed call");
            let (beginning, began) = unfinished.remove(thread).expect("a call to resume");
            calls.push(call(&format!("{beginning}{end}"), began, number));
        } else {
            calls.push(call(rest, number, number));
        }
    }
    calls
}

fn call(text: &str, began: usize, ended: usize) -> Call {
    let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("no call: {text}"));
    let (arguments, result) = rest.rsplit_once(") = ").unwrap_or_else(|| panic!("no end: {text}"));
    let number = result.split([' ', '<']).next().unwrap_or_default();
    Call {
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        result: number.parse().ok(),
        began,
        ended,
    }
}

impl Call {
    pub(crate) fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }

    /// What the descriptor in the first argument stands for: a path, or `socket:[NUMBER]`.
    pub(crate) fn target(&self) -> Option<&str> {
        let digits = self.arguments.bytes().take_while(u8::is_ascii_digit).count();
        let rest = self.arguments.get(digits..)?.strip_prefix('<')?;
        rest.split_once('>').map(|(target, _)| target)
    }

    /// The strings among the arguments, decoded.
    ///
    /// # Panics
    /// Where strace cut one short.
    pub(crate) fn strings(&self) -> Vec<Vec<u8>> {
        let bytes = self.arguments.as_bytes();
        let mut strings = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] != b'"' {
                at += 1;
                continue;
            }
            let (string, end) = unquote(bytes, at + 1);
            assert!(!bytes[end..].starts_with(b"..."), "strace cut a string: raise -s");
            strings.push(string);
            at = end;
        }
        strings
    }

    /// The data of a read or a write, as far as it was transferred.
    pub(crate) fn data(&self) -> Vec<u8> {
        let mut data = self.strings().concat();
        data.truncate(self.result.and_then(|result| usize::try_from(result).ok()).unwrap_or(0));
        data
    }

    /// The path in a string argument.
    pub(crate) fn path(&self, index: usize) -> String {
        String::from_utf8(self.strings()[index].clone()).expect("a path of UTF-8")
    }
}

/// Decodes a C string that begins at `at`; returns it and where its closing quote ends.
fn unquote(bytes: &[u8], mut at: usize) -> (Vec<u8>, usize) {
    let mut string = Vec::new();
    loop {
        match bytes[at] {
            b'"' => return (string, at + 1),
            b'\\' => {
                let (byte, end) = unescape(bytes, at + 1);
                string.push(byte);
                at = end;
            }
            byte => {
                string.push(byte);
                at += 1;
            }
        }
    }
}

fn unescape(bytes: &[u8], at: usize) -> (u8, usize) {
    let simple = match bytes[at] {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'0'..=b'7' => {
            let digits = bytes[at..].iter().take(3).take_while(|b| matches!(b, b'0'..=b'7'));
            let (value, length) =
                digits.fold((0_u32, 0), |(value, n), b| (value * 8 + u32::from(b - b'0'), n + 1));
            return (u8::try_from(value).expect("one byte"), at + length);
        }
        other => other,
    };
    (simple, at + 1)
}
