use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn folder(root: &Path) -> Folder {
    Folder::new(root.join("deep").join("er"), "orders".parse().unwrap(), 10)
}

#[test]
fn appends_go_to_the_file_of_the_hour_until_it_is_large_enough() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = folder(root.path());
    folder.append(b"one\n", at(0)).unwrap();
    folder.append(b"two\n", at(3599)).unwrap();
    folder.append(b"three\n", at(3600)).unwrap();
    let found = files(root.path());
    let texts: Vec<_> = found.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(texts, ["one\ntwo\n", "three\n"]);
    assert!(found[0].starts_with(root.path().join("deep/er/orders/1970/01/01/00")), "{found:?}");
    // The second file holds six bytes: there is room for more, once.
    folder.append(b"four\n", at(3600)).unwrap();
    folder.append(b"five\n", at(3600)).unwrap();
    assert_eq!(files(root.path()).len(), 3);
}

#[test]
fn after_a_failed_write_another_file_is_begun() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = folder(root.path());
    folder.append(b"one\n", at(0)).unwrap();
    // A handle that cannot be written to stands for a disk that fails.
    let path = files(root.path()).remove(0);
    folder.current.as_mut().unwrap().file = File::open(&path).unwrap();
    folder.append(b"two\n", at(0)).unwrap_err();
    assert!(folder.current.is_none());
    folder.append(b"two\n", at(0)).unwrap();
    let mut texts: Vec<_> =
        files(root.path()).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.sort();
    assert_eq!(texts, ["one\n", "two\n"]);
}
