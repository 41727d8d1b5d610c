//! `pipe init`: what it guesses about a file, and that its pipeline runs at once.

use std::fmt::Write;

use crate::harness::Project;

/// An empty folder.
pub fn folder() -> Project {
    let project = Project::new("");
    std::fs::remove_file(project.path("pipeline.yaml")).unwrap();
    project
}

/// Numbered headlines in three categories.
pub fn news(delimiter: &str) -> String {
    let mut text = ["nr", "headline", "category"].join(delimiter) + "\n";
    for row in 0..90 {
        let (word, category) = [("goal", "sport"), ("soup", "food"), ("chip", "tech")][row % 3];
        let headline = format!("the {word} number {row} is new");
        let _ = writeln!(text, "{}", [&row.to_string(), &headline, category].join(delimiter));
    }
    text
}

#[test]
fn the_pipeline_for_a_csv_file_of_three_labels_runs_at_once() {
    let project = folder();
    project.write("news.csv", &news(","));
    let told = project.pipe(&["init"]).expect_code(0).stderr;
    for part in ["CSV, 90 rows", "text is in `headline`", "`category`; 3 labels", "food (30)"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let yaml = project.read("pipeline.yaml");
    assert!(yaml.contains("labels: [food, sport, tech]"), "{yaml}");
    project.expect_run(&[], "baseline=ran ingest=ran score=ran split=ran");
    let scores: serde_json::Value = serde_json::from_str(&project.read("scores.json")).unwrap();
    assert_eq!(scores["valid"]["accuracy"], 1.0, "{scores}");
}

#[test]
fn an_audit_finds_the_rows_whose_labels_were_exchanged_and_a_decision_cleans_them() {
    let project = folder();
    let wrong = ["the goal number 33 is new,sport", "the soup number 34 is new,food"];
    let exchanged = ["the goal number 33 is new,food", "the soup number 34 is new,sport"];
    let text = news(",");
    let text = text.replace(wrong[0], exchanged[0]).replace(wrong[1], exchanged[1]);
    project.write("news.csv", &text);
    let told = project.pipe(&["init", "--audit"]).expect_code(0).stderr;
    assert!(told.contains("`pipe review`"), "{told}");
    project.run(&[]).expect_code(0);
    let issues = project.read("audit/issues.jsonl");
    let first: Vec<serde_json::Value> =
        issues.lines().take(2).map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut found: Vec<&str> = first.iter().map(|it| it["text"].as_str().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, ["the goal number 33 is new", "the soup number 34 is new"]);
    assert!(project.read("audit/audit.md").contains("| the goal number 33 is new |"));
    let decided = issues.replace("{\"decision\":null,", "{\"decision\":\"relabel\",");
    project.write("decisions.jsonl", &decided);
    project.run(&[]).expect_code(0);
    let cleaned = project.pipe(&["show", "--json", "clean:report"]).expect_code(0).stdout;
    assert!(cleaned.contains("relabelled"), "{cleaned}");
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let project = folder();
    project.write("news.csv", &news(","));
    project.write("pipeline.yaml", "mine");
    let told = project.pipe(&["init"]).expect_code(2).stderr;
    assert!(told.contains("already exists") && told.contains("--out"), "{told}");
    assert_eq!(project.read("pipeline.yaml"), "mine");
    project.pipe(&["init", "--out", "other.yaml"]).expect_code(0);
    project.pipe(&["-f", "other.yaml", "status"]).expect_code(0);
}

#[test]
fn the_format_is_detected_from_the_content() {
    for (name, text, format) in [
        ("a.csv", news("\t"), "format: tsv"),
        ("b.csv", "\u{feff}text,label\r\n\"a, \"\"b\"\"\",x\r\nc,y\r\nd,x\r\n".to_owned(), "format: csv"),
        (
            "c.csv",
            "{\"text\":\"a\",\"label\":1}\n\n{\"text\":\"b\",\"label\":0}\n{\"text\":\"c\",\"label\":0}\n".to_owned(),
            "format: jsonl",
        ),
    ] {
        let project = folder();
        project.write(name, &text);
        project.pipe(&["init"]).expect_code(0);
        assert!(project.read("pipeline.yaml").contains(format), "{name}");
        project.pipe(&["run", "ingest"]).expect_code(0);
    }
}

#[test]
fn conversations_are_found_and_kept_together() {
    let project = folder();
    let row = |row: usize| {
        let label = ["SARCASM", "NOT_SARCASM"][row % 2];
        format!(
            "{{\"id\":\"t{row}\",\"label\":\"{label}\",\"response\":\"r {row}\",\"context\":[\"c {}\"]}}\n",
            row / 2
        )
    };
    project.write("train.jsonl", &(0..20).map(row).collect::<String>());
    project.write("test.jsonl", &(0..5).map(row).collect::<String>());
    let told = project.pipe(&["init"]).expect_code(0).stderr;
    assert!(told.contains("the context in `context`"), "{told}");
    let yaml = project.read("pipeline.yaml");
    for part in ["group_conversations: true", "test: test.jsonl", "publish: {answer: answer.txt}"] {
        assert!(yaml.contains(part), "{part}: {yaml}");
    }
    project.pipe(&["status"]).expect_code(0);
}

#[test]
fn a_model_is_scored_against_the_baseline() {
    let project = folder();
    project.write("news.csv", &news(","));
    project.pipe(&["init", "--model", "hub:owner/name"]).expect_code(0);
    let yaml = project.read("pipeline.yaml");
    assert!(yaml.contains("valid: predict:valid, against: baseline:valid"), "{yaml}");
    let stages = project.pipe(&["status", "--json"]).expect_code(0).events();
    let stages = stages.iter().filter(|it| it["stage"].is_string()).count();
    assert_eq!(stages, 7);
}

#[test]
fn names_that_yaml_would_misread_are_quoted() {
    let project = folder();
    let mut text = "the text,is: it #1\n".to_owned();
    for label in ["yes", "1", "a: b", "${HOME}", "it's \"so\"", "é"] {
        let cell = format!("\"{}\"", label.replace('"', "\"\""));
        (0..3).for_each(|row| {
            let _ = writeln!(text, "some words of row {row},{cell}");
        });
    }
    project.write("odd.csv", &text);
    project.pipe(&["init", "--label", "is: it #1"]).expect_code(0);
    project.pipe(&["run", "ingest"]).expect_code(0);
    let report = project.pipe(&["cache", "cat", "ingest:report"]).expect_code(0).stdout;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["train"]["rows"], 18, "{report}");
}

#[test]
fn a_field_that_cannot_be_guessed_is_asked_for() {
    let project = folder();
    let refused = |arguments: &[&str], parts: &[&str]| {
        let told = project.pipe(&[&["init"], arguments].concat()).expect_code(2).stderr;
        for part in parts {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!project.path("pipeline.yaml").exists());
    };
    refused(&[], &["there is no file of data here, such as .jsonl, .csv or .json", "--data FILE"]);
    project.write("a.csv", "one,two\n1,2\n3,4\n5,6\n7,8\n9,10\n11,12\n13,14\n");
    refused(&[], &["no field of `a.csv` looks like the label", "--label", "`one`, `two`"]);
    refused(&["--label", "tow"], &["no field `tow`", "did you mean `two`?"]);
    project.write("b.csv", "text,label\n");
    refused(&[], &["there are `a.csv`, `b.csv`"]);
    refused(&["--data", "b.csv"], &["`b.csv` has no rows"]);
    refused(&["--data", "c.csv"], &["opening `c.csv`"]);
    project.write("b.csv", "text,label\na,x\nb,x\n");
    refused(&["--data", "b.csv", "--label", "label"], &["fewer than two values"]);
    project.write("b.csv", "text,label\na,x\nb,y,z\n");
    refused(&["--data", "b.csv"], &["b.csv, line 3"]);
    project.write("d.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n[1]\n");
    refused(&["--data", "d.jsonl"], &["d.jsonl, line 2: expected a JSON object"]);
}

#[test]
fn the_recipe_follows_the_rows_and_the_size_of_the_model() {
    let recipe = |rows: usize, model: &str| {
        let project = folder();
        let rows = (0..rows).map(|row| format!("some words {row},{}\n", ["a", "b"][row % 2]));
        project.write("few.csv", &format!("text,label\n{}", rows.collect::<String>()));
        project.pipe(&["init", "--model", model]).expect_code(0);
        let yaml = project.read("pipeline.yaml");
        let value = |name: &str| {
            let line = yaml.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
            line.trim_start_matches(": ").to_owned()
        };
        ["epochs", "batch_size", "learning_rate"].map(value).join(" ")
    };
    assert_eq!(recipe(6, "hub:owner/name"), "200 8 2.0e-5");
    assert_eq!(recipe(120, "hub:sentence-transformers/all-MiniLM-L6-v2"), "29 16 5.0e-5");
    assert_eq!(recipe(5000, "hub:owner/a-large-model"), "4 32 1.0e-5");
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tweet-encoder");
    assert_eq!(recipe(120, bundled), "29 16 1.0e-4");
}

#[test]
fn a_label_of_as_many_values_as_rows_is_refused() {
    let project = folder();
    let rows: String = (0..30).map(|row| format!("some words {row},name {row}\n")).collect();
    project.write("a.csv", &format!("text,label\n{rows}"));
    let told = project.pipe(&["init"]).expect_code(2).stderr;
    assert!(told.contains("`label`") && told.contains("30 different labels in 30 rows"), "{told}");
    assert!(!project.path("pipeline.yaml").exists());
}

/// With four epochs at 2e-5, this encoder guesses.
#[test]
#[cfg(feature = "model")]
fn a_model_is_no_worse_than_the_baseline_on_few_easy_rows() {
    let project = folder();
    let text = news(",");
    project
        .write("news.csv", &text.lines().take(31).fold(String::new(), |all, it| all + it + "\n"));
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tweet-encoder");
    project.pipe(&["init", "--model", bundled]).expect_code(0);
    project.run(&[]).expect_code(0);
    let scores: serde_json::Value = serde_json::from_str(&project.read("scores.json")).unwrap();
    assert_eq!(scores["valid"]["accuracy"], 1.0, "{scores}");
    assert_eq!(scores["against"]["accuracy"]["difference"], 0.0, "{scores}");
}

/// Examples as an API gives them: the text is deep in objects, and other objects have texts too.
fn tweets() -> Vec<serde_json::Value> {
    let tweet = |row: usize| {
        let label = ["a", "b"][row % 2];
        serde_json::json!({
            "id": format!("t{row}"),
            "label": label,
            "tweet": {"full_text": format!("the tweet of the number {row} is this one")},
            "user": {"name": format!("u{row}"), "place": {"code": row % 3}},
        })
    };
    (0..30).map(tweet).collect()
}

#[test]
fn a_text_in_an_object_is_found_by_its_path() {
    let project = folder();
    let lines = tweets().iter().map(|tweet| format!("{tweet}\n")).collect::<String>();
    project.write("tweets.jsonl", &lines);
    project.pipe(&["init"]).expect_code(0);
    let yaml = project.read("pipeline.yaml");
    assert!(yaml.contains("text_field: tweet.full_text"), "{yaml}");
    project.pipe(&["run", "ingest"]).expect_code(0);
    let other = ["init", "--text", "user.name", "--out", "other.yaml"];
    let told = project.pipe(&other).expect_code(0).stderr;
    assert!(told.contains("text is in `user.name`"), "{told}");
}

#[test]
fn a_json_list_and_other_encodings_and_compressed_files_are_taken_too() {
    let project = folder();
    project.write("tweets.json", &serde_json::to_string_pretty(&tweets()).unwrap());
    project.pipe(&["init"]).expect_code(0);
    assert!(project.read("pipeline.yaml").contains("format: json\n"));
    project.pipe(&["run", "ingest"]).expect_code(0);

    let project = folder();
    let news = news(";").replace("new", "\u{e9}");
    let bytes: Vec<u8> = news.chars().map(|it| it as u8).collect();
    std::fs::write(project.path("news.csv"), &bytes).unwrap();
    let told = project.pipe(&["init"]).expect_code(2).stderr;
    assert!(told.contains("expected UTF-8") && told.contains("encoding: windows-1252"), "{told}");
    project.pipe(&["init", "--encoding", "latin1"]).expect_code(0);
    assert!(project.read("pipeline.yaml").contains("encoding: latin1\n"));
    project.pipe(&["run", "ingest"]).expect_code(0);
    let told = project.pipe(&["init", "--encoding", "latin-7"]).expect_code(2).stderr;
    assert!(told.contains("such as `latin1`"), "{told}");
}

#[cfg(feature = "columns")]
#[test]
fn a_parquet_file_is_taken_and_its_pipeline_runs() {
    let project = folder();
    let fixture = "stages/tests/fixtures/columns/zstd.parquet";
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture);
    std::fs::copy(fixture, project.path("data.parquet")).unwrap();
    let told = project.pipe(&["init"]).expect_code(0).stderr;
    for part in ["PARQUET, 60 rows", "text is in `response`", "the context in `context`"] {
        assert!(told.replace('\n', " ").contains(part), "{part}: {told}");
    }
    project.pipe(&["run", "ingest"]).expect_code(0);
    let text = ["init", "--text", "tweet.full_text", "--out", "other.yaml"];
    project.pipe(&text).expect_code(0);
    project.pipe(&["-f", "other.yaml", "run", "ingest"]).expect_code(0);
}
