//! Attempts in flight, repetition of what failed, and how far delivery has come.

pub mod memory;
pub mod window;
