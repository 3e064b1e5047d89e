//! One line of a diagnosis: what was looked at, what it is like, what to do.

use serde::Serialize;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, or could not be looked at.
    Warning,
    /// It does not work.
    Failure,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What was looked at, in a word or two.
    pub subject: String,
    /// What it is like.
    pub says: String,
    /// What to do; empty where nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(subject: impl Into<String>, says: impl Into<String>) -> Self {
        let (subject, says) = (subject.into(), says.into());
        Self { level: Level::Ok, subject, says, advice: String::new() }
    }

    /// It works, or could not be looked at.
    pub fn warning(
        subject: impl Into<String>,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (subject, says, advice) = (subject.into(), says.into(), advice.into());
        Self { level: Level::Warning, subject, says, advice }
    }

    /// It does not work.
    pub fn failure(
        subject: impl Into<String>,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { level: Level::Failure, ..Self::warning(subject, says, advice) }
    }
}
