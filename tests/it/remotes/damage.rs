//! Damaged objects in the store and in the remote, and transfers that are killed at any point.

use std::fs;

use crate::remotes::{Lab, WITH_LAB, carried, expect_one_warning, flip_a_byte, objects, replace};

#[test]
fn a_flipped_byte_is_noticed_computed_here_and_repaired_there() {
    for large in [false, true] {
        let lab = Lab::new();
        lab.clone_of().run(&WITH_LAB).expect_code(0);
        let object = if large { objects(&lab.root()).1 } else { objects(&lab.root()).0 };
        let whole = fs::read(&object).unwrap();
        flip_a_byte(&object);

        let puller = lab.clone_of();
        let ended = puller.pipe(&["pull"]).expect_code(1);
        assert!(ended.stderr.contains("is damaged there"), "{}", ended.stderr);
        puller.pipe(&["cache", "verify"]).expect_code(0);

        let runner = lab.clone_of();
        let outcomes = if large { "a=hit b=ran" } else { "a=ran b=hit" };
        let ended = runner.expect_run(&WITH_LAB, outcomes).expect_code(0);
        expect_one_warning(&ended, "is damaged there; it is computed here");
        assert_eq!(fs::read(&object).unwrap(), whole, "the upload replaces it");
        puller.pipe(&["pull"]).expect_code(0);
        puller.expect_run(&[], "a=hit b=hit");
    }
}

#[test]
fn a_damaged_remote_is_repaired_by_overwriting() {
    let lab = Lab::new();
    let project = lab.clone_of();
    project.run(&WITH_LAB).expect_code(0);
    flip_a_byte(&objects(&lab.root()).1);
    assert_eq!(carried(&project.pipe(&["push", "--json"])), "a=there b=there");
    project.pipe(&["push", "--overwrite"]).expect_code(0);
    lab.clone_of().pipe(&["pull"]).expect_code(0);
}

#[test]
fn what_is_damaged_here_is_not_pushed() {
    for overwrite in [false, true] {
        let lab = Lab::new();
        let project = lab.clone_of();
        project.run(&[]).expect_code(0);
        flip_a_byte(&objects(&project.path("cache")).1);
        let arguments: &[&str] = if overwrite { &["push", "--overwrite"] } else { &["push"] };
        let ended = project.pipe(arguments).expect_code(1);
        assert!(ended.stderr.contains("of this store is damaged"), "{}", ended.stderr);
        assert!(lab.files().iter().all(|file| !file.contains("tmp/")), "{:?}", lab.files());
        assert!(!lab.files().iter().any(|file| file.ends_with(".tree")));
    }
}

#[test]
fn a_truncated_upload_is_noticed_and_uploaded_again() {
    let lab = Lab::new();
    let project = lab.clone_of();
    project.run(&WITH_LAB).expect_code(0);
    let object = objects(&lab.root()).1;
    let whole = fs::read(&object).unwrap();
    for left in [whole.len() / 2, whole.len() - 1, 0] {
        replace(&object, &whole[..left]);
        lab.clone_of().pipe(&["pull"]).expect_code(1);
        assert_eq!(carried(&project.pipe(&["push", "--json"])), "a=there b=pushed");
        assert_eq!(fs::read(&object).unwrap(), whole);
    }
    replace(&object, &[whole.as_slice(), b"more"].concat());
    lab.clone_of().pipe(&["pull"]).expect_code(1);
}

#[test]
fn two_that_push_the_same_at_once_do_each_other_no_harm() {
    let lab = Lab::new();
    let projects = [lab.clone_of(), lab.clone_of(), lab.clone_of()];
    for project in &projects {
        project.run(&[]).expect_code(0);
    }
    let running = projects.each_ref().map(|project| project.start_any(&["push", "--json"]));
    for push in running {
        push.end().expect_code(0);
    }
    assert!(lab.files().iter().all(|file| !file.starts_with("tmp/")), "{:?}", lab.files());
    let reader = lab.clone_of();
    reader.pipe(&["pull"]).expect_code(0);
    reader.pipe(&["cache", "verify"]).expect_code(0);
}

#[test]
fn a_pull_killed_anywhere_leaves_a_right_store_and_goes_on() {
    let lab = Lab::new();
    lab.clone_of().run(&WITH_LAB).expect_code(0);
    for at in 1.. {
        let project = lab.clone_of();
        let ended = project.pipe_with(&["pull"], &[("PIPE_FAULT", &at.to_string())]);
        project.pipe(&["cache", "verify"]).expect_code(0);
        project.pipe(&["pull"]).expect_code(0);
        project.expect_run(&[], "a=hit b=hit");
        assert!(project.entries("tmp").is_empty() && project.entries("partial").is_empty());
        if ended.signal.is_none() {
            assert!(at > 20, "{at}");
            return;
        }
    }
}

#[test]
fn a_push_killed_anywhere_leaves_a_remote_that_can_be_pulled_from() {
    let template = Lab::new();
    let project = template.clone_of();
    project.run(&[]).expect_code(0);
    for at in 1.. {
        let _ = fs::remove_dir_all(template.root());
        let ended = project.pipe_with(&["push"], &[("PIPE_FAULT", &at.to_string())]);
        let reader = template.clone_of();
        reader.pipe(&["pull"]).expect_code(0);
        reader.run(&[]).expect_code(0);
        project.pipe(&["push"]).expect_code(0);
        let reader = template.clone_of();
        reader.pipe(&["pull"]).expect_code(0);
        reader.expect_run(&[], "a=hit b=hit");
        if ended.signal.is_none() {
            assert!(at > 20, "{at}");
            return;
        }
    }
}

#[test]
fn what_an_earlier_download_left_is_gone_on_from_or_thrown_away() {
    let lab = Lab::new();
    lab.clone_of().run(&WITH_LAB).expect_code(0);
    let object = objects(&lab.root()).1;
    let (name, whole) = (object.file_name().unwrap(), fs::read(&object).unwrap());
    let wrong = vec![7; whole.len()];
    let longer = [whole.as_slice(), b"x"].concat();
    for left in [&whole[..1000], &wrong[..1000], &whole, &wrong, &longer] {
        let project = lab.clone_of();
        let partial = project.path("cache/partial").join(name);
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(&partial, left).unwrap();
        project.pipe(&["pull"]).expect_code(0);
        project.pipe(&["cache", "verify"]).expect_code(0);
        project.expect_run(&[], "a=hit b=hit");
        assert!(project.entries("partial").is_empty());
    }
}

#[test]
fn a_listing_with_a_file_that_is_also_a_folder_or_is_named_twice_is_refused() {
    use pipe::files::tree::Tree;
    let listing = |paths: &[&str]| {
        let line = |path: &&str| format!("{} 1 {path}\n", "0a".repeat(32));
        format!("tree 1\n{}", paths.iter().map(line).collect::<String>())
    };
    assert!(Tree::parse(&listing(&["f", "f.g", "g/f"])).is_some());
    for wrong in [&["f", "f/g"][..], &["f/g/h", "f"], &["a/f", "a/f/g/h"], &["f", "f"], &["f/../g"]]
    {
        assert!(Tree::parse(&listing(wrong)).is_none(), "{wrong:?}");
    }
}
