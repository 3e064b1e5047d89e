//! The fuzzers' corpora, as ordinary tests: every file through the function that its target calls.
//! A finding of a fuzzer becomes a file there and stays.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and is told by its environment how long to go on"
)]

use std::fs;
use std::path::{Path, PathBuf};

#[expect(unreachable_pub, reason = "public for the fuzz targets")]
#[path = "../fuzz/src/lib.rs"]
mod properties;

use properties::Target;

/// How often each file is altered in `cargo test`; `CORPUS_MUTATIONS` says another number.
const MUTATIONS: u64 = 100;

/// The files of a target's corpus, sorted.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn every_file_of_every_corpus_keeps_its_promise() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for Target { name: target, check } in properties::TARGETS {
        let files = corpus(target);
        assert!(files.len() >= 3, "{target} has no seeds");
        for (path, bytes) in files {
            println!("{}", path.display());
            check(&bytes);
        }
        assert!(targets.join(format!("{target}.rs")).exists());
    }
    let targets = fs::read_dir(targets).unwrap().count();
    assert_eq!(targets, properties::TARGETS.len(), "a target that is not in the list");
}

/// What a fuzzer does in its first second, on every machine and without one.
#[test]
fn so_does_what_is_nearly_such_a_file() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse().expect("a number"));
    let mutations = number("CORPUS_MUTATIONS").unwrap_or(MUTATIONS);
    let seed = number("CORPUS_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("CORPUS_SEED={seed}");
    for Target { name: target, check } in properties::TARGETS {
        let mut random = fastrand::Rng::with_seed(seed);
        let files = corpus(target);
        for (path, bytes) in &files {
            println!("{}", path.display());
            for _ in 0..mutations {
                let mut bytes = bytes.clone();
                for _ in 0..=random.usize(..4) {
                    mutate(&mut bytes, &files[random.usize(..files.len())].1, &mut random);
                }
                check(&bytes);
            }
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut fastrand::Rng) {
    let at = random.usize(..=bytes.len());
    let end = bytes.len().min(at + random.usize(..20));
    match random.u8(..8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        3 => bytes.insert(at, random.u8(..)),
        4 => bytes[at..end].fill(random.choice([0, 0xff]).unwrap()),
        5 => {
            let from = random.usize(..=other.len());
            bytes.splice(at..at, other[from..].iter().copied());
        }
        _ if at < bytes.len() && random.bool() => bytes[at] = random.u8(..),
        _ if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
        _ => bytes.push(random.u8(..)),
    }
}
