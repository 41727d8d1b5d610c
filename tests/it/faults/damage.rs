//! Damages every file and folder of the store in every way, one at a time. The result is a rebuild
//! or an error message, never a wrong result and never a panic.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::faults::project::{ARGUMENTS, Before, Scene, overwrite};
use crate::faults::{Random, number_from};
use crate::harness::Project;

#[derive(Clone, Copy, Debug)]
enum Damage {
    Halved,
    Emptied,
    Flipped,
    Removed,
    FolderInPlace,
    FileInPlace,
    Unreadable,
}

const OF_FILES: [Damage; 6] = [
    Damage::Halved,
    Damage::Emptied,
    Damage::Flipped,
    Damage::Removed,
    Damage::FolderInPlace,
    Damage::Unreadable,
];
const OF_FOLDERS: [Damage; 3] = [Damage::Removed, Damage::FileInPlace, Damage::Unreadable];

fn damage(path: &Path, damage: Damage, random: &mut Random) {
    let remove = || match path.is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    };
    match damage {
        Damage::Halved => {
            let bytes = fs::read(path).unwrap();
            overwrite(path, &bytes[..bytes.len() / 2]);
        }
        Damage::Emptied => overwrite(path, b""),
        Damage::Flipped => {
            let mut bytes = fs::read(path).unwrap();
            match bytes.len() {
                0 => bytes.push(b'x'),
                length => bytes[random.below(length)] ^= 1 << random.below(8),
            }
            overwrite(path, &bytes);
        }
        Damage::Removed => remove(),
        Damage::FolderInPlace => {
            remove();
            fs::create_dir(path).unwrap();
            fs::write(path.join("inside"), "x").unwrap();
        }
        Damage::FileInPlace => {
            remove();
            fs::write(path, "x").unwrap();
        }
        // Permissions do not stop root; a link to itself does.
        Damage::Unreadable if rustix::process::geteuid().is_root() => {
            remove();
            symlink(path, path).unwrap();
        }
        Damage::Unreadable => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        }
    }
}

/// A finished project with the files that only a killed run leaves.
fn finished() -> Scene {
    let scene = Scene::new(Before::Finished);
    let project = scene.template();
    let key = scene.key("split");
    project.write(&format!("cache/state/{key}/checkpoint"), "half a model");
    project.write(&format!("cache/locks/{key}"), "");
    project.write("cache/tmp/1-1/0/out/x", "half an output");
    project.write(&format!("cache/quarantine/{key}-0"), "damaged once");
    scene
}

/// Everything in the store, relative to the project, each folder after its contents; and whether it
/// is a folder.
fn places(project: &Project) -> Vec<(PathBuf, bool)> {
    let root = project.path(".");
    let walk = walkdir::WalkDir::new(project.path("cache")).contents_first(true);
    let entries = walk.into_iter().map(|entry| entry.unwrap());
    let place = |entry: walkdir::DirEntry| {
        let relative = entry.path().strip_prefix(&root).unwrap().to_owned();
        (relative, entry.file_type().is_dir())
    };
    entries.map(place).collect()
}

const TARGETS: [&str; 3] = ["joined", "split", "fixed"];

#[test]
fn a_damaged_store_gives_the_right_result_or_an_error_in_words() {
    let scene = finished();
    let mut random = Random::new();
    let share = number_from("PIPE_DAMAGES", 1);
    let (mut damages, mut errors) = (0, 0);
    // This reads the store to run `joined` again and to publish everything else.
    let changed = ["--set", "joined.n=2"];
    let arguments = [&ARGUMENTS[..], &["2"], &TARGETS, &changed].concat();
    let right = scene.project();
    right.pipe(&arguments).expect_code(0);
    let published = |project: &Project| -> Vec<Option<String>> {
        let paths =
            ["joined.txt", "count.txt", "out/words.txt", "out/fixed.txt", "out/train.jsonl"];
        let folder = ["out/parts/sorted", "out/parts/deep/first", "out/parts/deep/same"];
        let paths = paths.into_iter().chain(folder);
        paths.map(|path| fs::read_to_string(project.path(path)).ok()).collect()
    };
    let expected = published(&right);
    assert!(expected.iter().all(Option::is_some));

    for (place, is_folder) in places(scene.template()) {
        let mut kinds = if is_folder { OF_FOLDERS.to_vec() } else { OF_FILES.to_vec() };
        while kinds.len() > share {
            kinds.swap_remove(random.below(kinds.len()));
        }
        for kind in kinds {
            let project = scene.project();
            let what = format!("{kind:?}: {}", place.display());
            damage(&project.path(place.to_str().unwrap()), kind, &mut random);
            for path in ["out", "joined.txt", "count.txt"] {
                let path = project.path(path);
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
            let pipe = |arguments: &[&str], codes: &[i32]| {
                let ended = project.pipe(arguments);
                assert!(!ended.stderr.contains("panicked"), "{what}: {}", ended.stderr);
                let code = ended.code.unwrap_or(-1);
                assert!(codes.contains(&code), "{what}: {arguments:?} {ended:?}");
                let told = ended.stderr.contains("error") || ended.stdout.contains("message");
                assert!(code == 0 || told, "{what}: {arguments:?} {ended:?}");
                code
            };
            for look in [
                &["status", "--json"][..],
                &["cache", "ls"],
                &["show", "parts:parts"],
                &["explain", "joined"],
            ] {
                pipe(look, &[0, 1, 2]);
            }
            let code = pipe(&arguments, &[0, 1]);
            damages += 1;
            errors += code;
            for (found, right) in published(&project).iter().zip(&expected) {
                assert!(found == right || (code == 1 && found.is_none()), "{what}: {found:?}");
            }
            // A second run must not be worse than the first.
            assert!(
                pipe(&arguments, &[0, 1]) <= code,
                "{what}: the first run was right, the second was not"
            );
        }
    }
    assert!(damages > 80);
    println!("{damages} damages, {errors} of them an error, all others mended");
}
