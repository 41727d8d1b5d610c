//! `pipe init` for several files, given one by one or by a pattern.

use crate::harness::Project;
use crate::init::{folder, news};

/// Three files of headlines; the category `tech` is in the last one only.
fn parts() -> Project {
    let project = folder();
    let text = news(",");
    let (header, rows) = text.split_once('\n').unwrap();
    let of = |is_tech: bool| -> Vec<&str> {
        rows.lines().filter(|row| row.ends_with("tech") == is_tech).collect()
    };
    let others = of(false);
    let file = |rows: &[&str]| format!("{header}\n{}\n", rows.join("\n"));
    project.write("data/part-1.csv", &file(&others[..25]));
    project.write("data/part-2.csv", &file(&others[25..]));
    project.write("data/part-3.csv", &file(&of(true)));
    project
}

#[test]
fn a_pattern_is_written_as_it_is_and_all_of_its_files_are_read() {
    let project = parts();
    let told = project.pipe(&["init", "--data", "data/part-*.csv"]).expect_code(0).stderr;
    for part in ["From data/part-*.csv: 3 files, CSV, 90 rows", "3 labels: food (30)", "tech (30)"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let yaml = project.read("pipeline.yaml");
    assert!(yaml.contains("data: \"data/part-*.csv\"") && yaml.contains("format: csv"), "{yaml}");
    project.expect_run(&[], "baseline=ran ingest=ran score=ran split=ran");
    // A file that matches later is read too.
    project.write("data/part-4.csv", "nr,headline,category\n90,the goal number 90 is new,sport\n");
    project.run(&[]).expect_code(0);
    let report = project.pipe(&["show", "--json", "ingest:report"]).expect_code(0).stdout;
    assert!(report.contains("91"), "{report}");
}

#[test]
fn files_may_be_listed_and_are_read_in_the_order_of_their_names() {
    let project = parts();
    let listed = ["data/part-3.csv", "data/part-1.csv", "data/part-2.csv"];
    project.pipe(&[&["init", "--data"], &listed[..]].concat()).expect_code(0);
    let yaml = project.read("pipeline.yaml");
    assert!(yaml.contains("data: [data/part-3.csv, data/part-1.csv, data/part-2.csv]"), "{yaml}");
    project.expect_run(&[], "baseline=ran ingest=ran score=ran split=ran");
}

#[test]
fn a_pattern_for_a_pipeline_in_another_folder_finds_the_same_files() {
    let project = parts();
    std::fs::create_dir(project.path("own")).unwrap();
    let out = ["--out", "own/pipeline.yaml"];
    for pattern in ["data/part-*.csv", "own/../d*/part-[123].csv"] {
        let _ = std::fs::remove_file(project.path("own/pipeline.yaml"));
        project.pipe(&[&["init", "--data", pattern], &out[..]].concat()).expect_code(0);
        let plan = ["-f", "own/pipeline.yaml", "run", "ingest"];
        project.pipe(&plan).expect_code(0);
    }
    let yaml = project.read("own/pipeline.yaml");
    assert!(yaml.contains("/d*/part-[123].csv\""), "{yaml}");
    // From within the folder it is as short as it can be.
    project.pipe(&["-C", "data", "init", "--data", "part-?.csv"]).expect_code(0);
    assert!(project.read("data/pipeline.yaml").contains("data: \"part-?.csv\""));
}

#[test]
fn files_of_several_formats_are_read_each_in_its_own() {
    let project = parts();
    let row = |at: usize| {
        let nr = 100 + at;
        format!(
            "{{\"nr\":{nr},\"headline\":\"the fork number {nr} is new\",\"category\":\"food\"}}\n"
        )
    };
    project.write("data/part-4.jsonl", &(0..5).map(row).collect::<String>());
    let told = project.pipe(&["init", "--data", "data/part-*"]).expect_code(0).stderr;
    assert!(told.contains("4 files, CSV and JSONL, 95 rows"), "{told}");
    assert!(!project.read("pipeline.yaml").contains("format:"));
    project.expect_run(&[], "baseline=ran ingest=ran score=ran split=ran");
    // A format that is said is that of all files.
    std::fs::remove_file(project.path("pipeline.yaml")).unwrap();
    let told = ["init", "--data", "data/part-*", "--format", "jsonl"];
    let told = project.pipe(&told).expect_code(2).stderr;
    assert!(told.contains("part-1.csv"), "{told}");
}

#[test]
fn the_texts_to_classify_may_be_several_files_too() {
    let project = parts();
    let told = ["init", "--data", "data/part-*.csv", "--test", "data/test-*.csv"];
    project.write("data/test-1.csv", "nr,headline\n200,the goal number 200 is new\n");
    project.write("data/test-2.csv", "nr,headline\n201,the soup number 201 is new\n");
    project.pipe(&told).expect_code(0);
    assert!(project.read("pipeline.yaml").contains("test: \"data/test-*.csv\""));
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("answer.txt").lines().count(), 2);
}

#[test]
fn mistakes_name_the_pattern_or_the_file_and_its_line() {
    let project = parts();
    let told = |arguments: &[&str]| {
        let told = project.pipe(&[&["init"], arguments].concat()).expect_code(2).stderr;
        assert!(!project.path("pipeline.yaml").exists());
        told
    };
    let none = told(&["--data", "data/port-*.csv"]);
    assert!(none.contains("no file matches `data/port-*.csv`"), "{none}");
    let malformed = told(&["--data", "data/part-[1"]);
    assert!(malformed.contains("`data/part-[1` is no pattern"), "{malformed}");
    project.write("more/part-1.csv", "nr,headline,category\n1,a,b\n");
    let twice = told(&["--data", "data/*.csv", "more/part-1.csv"]);
    assert!(twice.contains("would both be `part-1.csv`"), "{twice}");
    let missing = told(&["--data", "data/part-1.csv", "none.csv"]);
    assert!(missing.contains("none.csv"), "{missing}");
    project.write("data/part-2.csv", "nr,headline,category\n1,a,sport\n2,b\n");
    let short = told(&["--data", "data/part-*.csv"]);
    assert!(short.contains("part-2.csv, line 3"), "{short}");
    project.write("data/part-2.csv", "nr,title,category\n1,a,sport\n");
    let other = told(&["--data", "data/part-*.csv"]);
    assert!(other.contains("part-2.csv") && other.contains("`headline`"), "{other}");
    project.write("data/part-2.csv", "");
    let empty = told(&["--data", "data/part-*.csv"]);
    assert!(empty.contains("part-2.csv` has no rows"), "{empty}");
}
