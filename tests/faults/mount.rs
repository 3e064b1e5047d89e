//! Small file systems of their own, which can be full, out of names, or broken. Need root.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An ext4 in a file, mounted. Unmounted when it is dropped.
pub(crate) struct Disk {
    root: tempfile::TempDir,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("these tests need {program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?} (as root?): {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl Disk {
    /// A new one of so many MiB and, where given, for so many files.
    pub(crate) fn new(mebibytes: u64, files: Option<u32>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let disk = Self { root };
        File::create(disk.image()).unwrap().set_len(mebibytes << 20).unwrap();
        let files = files.map(|files| files.to_string());
        let mut arguments = vec!["-q", "-m", "0"];
        if let Some(files) = &files {
            arguments.extend(["-N", files]);
        }
        let image = disk.image();
        arguments.push(image.to_str().unwrap());
        run("mkfs.ext4", &arguments);
        fs::create_dir(disk.dir()).unwrap();
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.root.path().join("image")
    }

    /// Where it is mounted.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("disk")
    }

    fn mount(&self) {
        let (image, dir) = (self.image(), self.dir());
        let paths = [image.to_str().unwrap(), dir.to_str().unwrap()];
        run("mount", &[&["-o", "loop,errors=remount-ro"], &paths[..]].concat());
    }

    fn unmount(&self) {
        run("umount", &[self.dir().to_str().unwrap()]);
    }

    /// The kernel has found an error in it: from now on it can only be read.
    pub(crate) fn fail(&self) {
        let device = run("findmnt", &["-no", "SOURCE", self.dir().to_str().unwrap()]);
        let device = Path::new(device.trim()).file_name().unwrap().to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        fs::write(trigger, "1").unwrap();
    }

    /// What an operator does then.
    pub(crate) fn repair(&self) {
        self.unmount();
        let image = self.image();
        let status = Command::new("e2fsck").args(["-fy"]).arg(&image).output().unwrap().status;
        // 1: errors were corrected.
        assert!(status.code().is_some_and(|code| code <= 1), "{status}");
        self.mount();
    }

    /// Takes all room that is left; dropped, it is given back.
    pub(crate) fn fill(&self) -> Ballast {
        let path = self.dir().join("ballast");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 20, 4096, 1] {
            let zeros = vec![0; size];
            while file.write_all(&zeros).is_ok() {}
        }
        Ballast(vec![path])
    }

    /// Takes all names that are left.
    pub(crate) fn take_all_names(&self) -> Ballast {
        let paths = (0..).map(|number| self.dir().join(format!("ballast-{number}")));
        Ballast(paths.take_while(|path| File::create(path).is_ok()).collect())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, since a test that fails may leave somebody in it.
        let _unmounted = Command::new("umount").arg("-l").arg(self.dir()).status().is_ok();
    }
}

/// Files that are in the way.
pub(crate) struct Ballast(Vec<PathBuf>);

impl Drop for Ballast {
    fn drop(&mut self) {
        for path in &self.0 {
            let _removed = fs::remove_file(path).is_ok();
        }
    }
}
