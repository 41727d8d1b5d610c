//! `ensemble` as the engine runs it.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::Run;

/// A folder of members' predictions.
struct Set(TempDir);

impl Set {
    fn new(members: &[(&str, &[Value])]) -> Set {
        let set = Set(TempDir::new().unwrap());
        for (name, rows) in members {
            let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
            std::fs::write(set.0.path().join(name), lines).unwrap();
        }
        set
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn run(&self) -> Run {
        Run::new("ensemble").input_path("predictions", self.path())
    }

    #[track_caller]
    fn error(&self) -> String {
        let error = self.run().run().result.unwrap_err().to_string();
        error.replace(self.0.path().to_str().unwrap(), "set")
    }
}

/// A row with the probability of `YES`.
fn row(id: &str, yes: f64) -> Value {
    let label = if yes > 0.5 { "YES" } else { "NO" };
    json!({"id": id, "label": label, "probabilities": {"NO": 1.0 - yes, "YES": yes}, "gold": null})
}

fn labels(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["label"].as_str().unwrap()).collect()
}

/// Two members just below a half and one far above it, so that mean and majority disagree on `x`.
fn three() -> Set {
    Set::new(&[
        ("seed=1", &[row("x", 0.375), row("y", 0.75)]),
        ("seed=2", &[row("x", 0.375), row("y", 0.75)]),
        ("seed=3.jsonl", &[row("x", 1.0), row("y", 0.0)]),
    ])
}

#[test]
fn probabilities_are_the_means_and_the_label_the_likeliest() {
    let done = three().run().run();
    let rows = done.rows("predictions");
    assert_eq!(labels(&rows), ["YES", "NO"]);
    assert_eq!(rows[0]["probabilities"]["YES"], 1.75 / 3.0);
    assert_eq!(rows[1]["probabilities"], json!({"NO": 0.5, "YES": 0.5}));
    assert_eq!(done.text("answer"), "x,YES\ny,NO\n");
    let metrics = &done.events.iter().find(|event| event["event"] == "metrics").unwrap()["values"];
    assert_eq!(*metrics, json!({"agreement": 0.0, "members": 3.0}));
}

#[test]
fn a_vote_goes_by_the_labels_of_the_members() {
    let done = three().run().param("method", "vote").run();
    let rows = done.rows("predictions");
    assert_eq!(labels(&rows), ["NO", "YES"]);
    assert_eq!(rows[0]["probabilities"]["YES"], 1.75 / 3.0);
    // A member with a threshold other than a half votes for its own label.
    let own = [json!({"id": "x", "label": "YES", "probabilities": {"NO": 0.75, "YES": 0.25}})];
    let set = Set::new(&[("a", &own), ("b", &own), ("c", &[row("x", 0.0)])]);
    assert_eq!(labels(&set.run().param("method", "vote").run().rows("predictions")), ["YES"]);
    assert_eq!(labels(&set.run().run().rows("predictions")), ["NO"]);
}

#[test]
fn a_tie_of_votes_goes_to_the_higher_mean_probability() {
    let set = Set::new(&[("a", &[row("x", 0.375)]), ("b", &[row("x", 1.0)])]);
    assert_eq!(labels(&set.run().param("method", "vote").run().rows("predictions")), ["YES"]);
    let set = Set::new(&[("a", &[row("x", 0.25)]), ("b", &[row("x", 0.625)])]);
    assert_eq!(labels(&set.run().param("method", "vote").run().rows("predictions")), ["NO"]);
}

#[test]
fn weights_count_by_the_name_of_the_member() {
    let set = three();
    let run = |method: &str| {
        let run = set.run().param("method", method);
        run.param("weights", json!({"seed=3": 6})).run().rows("predictions")
    };
    let rows = run("mean");
    assert_eq!(rows[0]["probabilities"]["YES"], 0.84375);
    assert_eq!(labels(&rows), ["YES", "NO"]);
    assert_eq!(labels(&run("vote")), ["YES", "NO"]);
    let refused = |weights: Value| set.run().param("weights", weights).run().error();
    assert_eq!(
        refused(json!({"seed=9": 1})),
        "parameter `weights`: there is no member `seed=9`; there are `seed=1`, `seed=2`, `seed=3`"
    );
    assert_eq!(
        refused(json!({"seed=1": 0, "seed=2": 0, "seed=3": 0})),
        "parameter `weights`: they sum to 0, expected more than 0"
    );
}

#[test]
fn true_labels_are_kept_and_score_reads_the_result() {
    let labelled = |yes: f64, gold: Value| {
        let mut row = row("x", yes);
        row["gold"] = gold;
        row
    };
    let test = three();
    let members = [labelled(0.25, Value::Null), labelled(1.0, json!("YES")), row("x", 0.75)];
    let valid = Set::new(&[
        ("seed=1", &members[..1]),
        ("seed=2", &members[1..2]),
        ("seed=3", &members[2..]),
    ]);
    let done = test.run().input_path("valid", valid.path()).run();
    assert_eq!(done.rows("valid")[0]["gold"], "YES");
    let score = Run::new("score").input("valid", done.text("valid")).run();
    assert_eq!(score.json("scores")["valid"]["accuracy"], 1.0);
    let alone = Run::new("ensemble").input_path("valid", valid.path()).run();
    assert_eq!(alone.text("valid"), done.text("valid"));
}

#[test]
fn members_that_do_not_match_are_named_by_file_and_row() {
    let good = || vec![row("x", 0.5), row("y", 0.5)];
    let error = |second: &[Value]| Set::new(&[("a", &good()), ("b.jsonl", second)]).error();
    assert_eq!(
        error(&[row("x", 0.5), row("z", 0.5)]),
        "set/b.jsonl, line 2: the id is `z`, but in `a` it is `y`: members need the same examples in \
         the same order"
    );
    assert_eq!(
        error(&good()[..1]),
        "set/b.jsonl, line 1: the file ends here, but `a` has more rows"
    );
    let longer = [good(), vec![row("z", 0.5)]].concat();
    assert_eq!(error(&longer), "set/b.jsonl, line 3: `a` has no such row");
    let other = json!({"id": "x", "label": "A", "probabilities": {"A": 0.5, "B": 0.5}});
    assert_eq!(
        error(&[other]),
        "set/b.jsonl, line 1: the labels are A, B, but in the first row of `a` they are NO, YES"
    );
    let bare = json!({"id": "x", "label": "YES"});
    assert_eq!(error(&[bare]), "set/b.jsonl, line 1: no probabilities to combine");
    let odd = json!({"id": "x", "label": "YES", "probabilities": {"NO": 0.5, "YES": 0.75}});
    assert_eq!(error(&[odd]), "set/b.jsonl, line 1: the probabilities sum to 1.25, expected 1");
    let gold = |label: &str| json!({"id": "x", "label": "YES", "probabilities": {"YES": 1.0}, "gold": label});
    let set = Set::new(&[("a", &[gold("YES")]), ("b", &[gold("NO")])]);
    assert_eq!(set.error(), "set/b, line 1: the true label is `NO`, but in `a` it is `YES`");
}

#[test]
fn probabilities_that_are_no_numbers_are_refused_with_the_row() {
    let with = |value: &str| {
        let set = three();
        let row = format!(
            "{{\"id\":\"x\",\"label\":\"NO\",\"probabilities\":{{\"NO\":{value},\"YES\":0.5}}}}\n"
        );
        std::fs::write(set.0.path().join("seed=2"), row).unwrap();
        set.error()
    };
    for wrong in ["null", "NaN", "1e999", "\"0.5\"", "-0.25", "Infinity"] {
        let error = with(wrong);
        assert!(error.starts_with("set/seed=2, line 1: "), "{wrong}: {error}");
    }
    // Each weighted probability rounds to 0, and so would their sum.
    let set = Set::new(&[("a", &[row("x", 0.5)])]);
    let done = set.run().param("weights", json!({"a": 5e-324})).run();
    let problem = "the prediction for `x`: the probabilities sum to 0, expected 1";
    assert!(done.error().ends_with(problem), "{}", done.error());
}

#[test]
fn a_folder_without_valid_members_is_refused() {
    assert_eq!(Set::new(&[]).error(), "set: holds no file of predictions");
    assert_eq!(Set::new(&[("a", &[]), ("b", &[])]).error(), "set: its files hold no predictions");
    let set = three();
    std::fs::create_dir(set.0.path().join("seed=4")).unwrap();
    assert_eq!(set.error(), "set/seed=4: expected a file of predictions, found a folder");
    let refused = Run::new("ensemble").check().unwrap_err();
    assert_eq!(refused, "`ensemble` needs an input: `predictions`, `valid` or both");
    let two = Set::new(&[("seed=1", &[row("x", 0.5)]), ("seed=2", &[row("x", 0.5)])]);
    let done = three().run().input_path("valid", two.path()).run();
    let error = done.result.unwrap_err().to_string();
    assert!(error.ends_with("no member `seed=3`, which `predictions` has"), "{error}");
}
