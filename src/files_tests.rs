use std::os::unix::fs::symlink;

use super::*;

fn pipe(path: &Path) {
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: `name` is a string that ends in 0.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
}

#[test]
fn a_pipe_is_refused_and_not_waited_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    pipe(&path);
    let own = |options: &mut OpenOptions| open_own(&path, options).map(drop);
    for refused in [
        open(&path).map(drop),
        read_at_most(&path, 1).map(drop),
        sha256_file(&path).map(drop),
        own(OpenOptions::new().append(true).create(true)),
        own(OpenOptions::new().read(true)),
        check_own(&path),
    ] {
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("config.toml: expected a file"), "{text}");
        assert!(text.contains(", found a pipe (hint: "), "{text}");
    }
}

#[test]
fn own_files_are_no_links_and_have_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("theirs"), "content").unwrap();
    symlink(at("theirs"), at("link")).unwrap();
    symlink(at("nowhere"), at("hanging")).unwrap();
    fs::hard_link(at("theirs"), at("second")).unwrap();
    for (name, found) in [
        ("link", "expected a file, found a link"),
        ("hanging", "expected a file, found a link"),
        ("second", "expected a file of its own, found one of 2 names of the same file"),
    ] {
        let opened = open_own(&at(name), OpenOptions::new().write(true).create(true));
        let text = opened.unwrap_err().to_string();
        assert!(text.contains(found), "{text}");
    }
    assert!(check_own(&at("link")).is_err());
    for path in [dir.path(), &at("theirs"), &at("new")] {
        check_own(path).unwrap();
    }
    assert_eq!(read_at_most(&at("link"), 7).unwrap(), b"content", "to be read it may be one");
    drop(create(&at("link")).unwrap());
    write_whole(&at("hanging"), b"x").unwrap();
    assert_eq!(fs::read(at("theirs")).unwrap(), b"content");
    assert!(!at("nowhere").exists());
}

#[test]
fn a_file_that_is_too_long_is_refused_by_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    // It takes no room on the disk, and would take a terabyte in memory.
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let text = read_at_most(&path, 1000).unwrap_err().to_string();
    assert!(text.contains("a.toml: expected at most 1000 bytes, found 1099511627776"), "{text}");
}

#[test]
fn each_kind_of_file_has_its_own_limit() {
    for (name, most) in [
        ("a/config.json", 16 << 20),
        ("a/tokenizer_config.json", 16 << 20),
        ("a/special_tokens_map.json", 16 << 20),
        ("a/added_tokens.json", 16 << 20),
        ("a/vocab.txt", 64 << 20),
        ("a/vocab.json", 64 << 20),
        ("a/merges.txt", 64 << 20),
        ("a/tokenizer.json", 128 << 20),
        ("a/tasks.yaml", 16 << 20),
        ("a/model.safetensors", 16 << 30),
        ("a/mnli_train.json", 16_u64 << 30),
    ] {
        assert_eq!(most_bytes(Path::new(name)), most, "{name}");
    }
}

#[test]
fn a_file_beyond_its_limit_is_refused_with_its_size_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    fs::write(&path, "12345").unwrap();
    assert_eq!(read_at_most(&path, 5).unwrap(), b"12345");
    let text = read_at_most(&path, 4).unwrap_err().to_string();
    assert!(text.contains("config.json: expected at most 4 bytes, found 5 or more (hint: "));
    // A hole that takes no room on the disk.
    File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let text = read_whole(&path).unwrap_err().to_string();
    assert!(text.contains("at most 16777216 bytes, found 1099511627776 or more"), "{text}");
}

#[test]
fn a_folder_is_free_of_what_a_killed_process_left_there() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let is_free = || is_free(dir.path(), &["model.safetensors"]).unwrap();
    assert!(super::is_free(&at("none"), &[]).unwrap() && is_free());
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let left = format!("model.safetensors.0f.{}.tmp", child.id());
    fs::write(at(&left), "half").unwrap();
    for theirs in [
        format!("model.safetensors.0f.{}.tmp", std::process::id()),
        format!("backup.0f.{}.tmp", child.id()),
        "model.safetensors.tmp".into(),
        "vocab.txt".into(),
    ] {
        fs::write(at(&theirs), "").unwrap();
        assert!(!is_free() && at(&left).exists(), "{theirs}");
        fs::remove_file(at(&theirs)).unwrap();
    }
    assert!(is_free() && !at(&left).exists());
}

#[test]
fn two_writers_of_one_file_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("a.txt");
    // Of one process here; in containers those of different ones have the same number.
    write_with(&target, |file| {
        file.write_all(b"first, ")?;
        write_whole(&target, b"second").unwrap();
        file.write_all(b"whole")
    })
    .unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"first, whole");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("folder");
    fs::create_dir(&target).unwrap();
    assert!(write_whole(&target, b"x").is_err(), "a folder cannot be replaced by a file");
    assert!(check_writable(&target).is_err());
    check_writable(&dir.path().join("new")).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
