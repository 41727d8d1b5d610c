//! `pipe sweep --race`: who stops, when a race ends, and whom it names.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Ended, Project, read_fifo};

/// `train` makes 60 predictions, of which `wrong` are wrong: others for each seed. `shift` makes others wrong, `label`
/// does not change them. With the seed 3 it waits, if there is something to wait for.
const PIPELINE: &str = r#"
stages:
  train:
    run: |
      echo "$PARAM_wrong$PARAM_label-$PARAM_seed" >> ran.log
      test "$PARAM_wrong" != 60 || { echo "all is wrong" >&2; exit 3; }
      if [ -p gate ] && [ "$PARAM_seed" = 3 ]; then echo here > ready; cat gate; fi
      for i in $(seq 60); do
        gold=NO; other=YES; if [ $((i % 2)) = 1 ]; then gold=YES; other=NO; fi
        label=$gold
        if [ $(((i * 7 + PARAM_seed * 13 + PARAM_shift) % 60)) -lt "$PARAM_wrong" ]; then label=$other; fi
        echo "{\"id\":\"${PARAM_rows}$i\",\"label\":\"$label\",\"gold\":\"$gold\"}"
      done > "$OUT_predictions"
    params: {wrong: 5, seed: 1, shift: 0, label: "", rows: ""}
    outputs: [predictions]
  score:
    inputs: {valid: train:predictions}
    params: {positive: YES, bootstrap: 0}
sweeps:
  sizes: {train.wrong: [30, 0, 1], train.seed: [1, 2, 3, 4]}
  least: {train.wrong: [0, 30], train.seed: [1, 2], metric: score.valid_f1, order: ascending}
  ragged:
    runs: [{train.wrong: 1, train.seed: 1}, {train.wrong: 1, train.seed: 2}, {train.wrong: 2, train.seed: 1}]
"#;

fn project() -> Project {
    Project::new(PIPELINE)
}

#[track_caller]
fn expect(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

fn last(ended: &Ended) -> Value {
    let last = ended.events().pop().unwrap();
    assert_eq!(last["event"], "race_finished");
    last
}

/// Without the seconds, which differ from run to run.
fn standings(of: &Value) -> Vec<Value> {
    let mut standings = of["standings"].as_array().unwrap().clone();
    standings.iter_mut().for_each(|it| it["seconds"] = Value::Null);
    standings
}

#[test]
fn who_is_behind_gets_no_further_runs() {
    let project = project();
    let race = project.pipe(&["sweep", "sizes", "--race", "--json"]).expect_code(0);
    assert_eq!(project.take_log(), "0-1 0-2 0-3 0-4 1-1 1-2 1-3 1-4 30-1 30-2");
    let end = last(&race);
    assert_eq!((&end["runs"], &end["runs_of_all"]), (&json!(10), &json!(12)));
    assert_eq!(end["ending"], "no_meetings_left");
    assert_eq!(end["over"], json!(["train.seed"]));
    assert_eq!(end["metric"], "score.valid_f1");
    // One row of sixty is more than half a point.
    assert_eq!(end["named"], json!({"train.wrong": 0}));
    let standing = |place: usize| end["standings"][place]["standing"].as_str().unwrap();
    assert_eq!([0, 1, 2].map(standing), ["behind", "leads", "racing"]);
    assert_eq!(end["standings"][0]["meetings"], 2);
    assert!(end["standings"][0]["behind"]["interval"][0].as_f64().unwrap() > 0.3);
    assert!(end["standings"][2]["behind"]["interval"][0].as_f64().unwrap() < 0.0);
    // The figure is that of `score`.
    let rows = race.events();
    let of = |wrong: u64| {
        let is =
            |row: &&Value| row["event"] == "combination" && row["values"]["train.wrong"] == wrong;
        rows.iter().find(is).unwrap().clone()
    };
    let mean = end["standings"][2]["mean"].as_f64().unwrap();
    assert!((mean - of(1)["metrics"]["score.valid_f1"].as_f64().unwrap()).abs() < 1e-12);
    assert_eq!(of(30)["done"], 2);

    let text = project.pipe(&["sweep", "sizes", "--race"]).expect_code(0);
    assert_eq!(project.take_log(), "");
    expect(
        &text.stderr,
        "race: 2 of 4 meetings over, 2 of 3 configurations left; now behind: wrong 30",
    );
    expect(&text.stdout, "The race took 10 of 12 runs; 2 were not needed.");
    expect(&text.stdout, "Behind the leader with 95 % confidence: #3 after 2 meetings.");
    expect(&text.stdout, "The cheapest of those\nwithin 0.005 of the leader is #1: it takes ");
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80));
    // One entry for the whole race.
    let log = project.pipe(&["log", "--json"]).expect_code(0);
    assert_eq!(log.events().len(), 1);
}

#[test]
fn a_race_ends_when_the_rest_is_within_the_margin_and_names_the_cheapest() {
    let project = project();
    let race = ["sweep", "train.label=x,y", "train.seed=1,2,3,4,5", "--race", "--json"];
    let end = last(&project.pipe(&race).expect_code(0));
    assert_eq!(end["ending"], "within_margin");
    assert_eq!(project.take_log(), "5x-1 5x-2 5y-1 5y-2");
    let seconds = |place: usize| end["standings"][place]["seconds"].as_f64().unwrap();
    let cheapest = if seconds(0) <= seconds(1) { "x" } else { "y" };
    assert_eq!(end["named"]["train.label"], cheapest);

    let race = ["sweep", "train.wrong=2,3", "train.seed=1,2,3,4,5,6,7", "--race", "--margin"];
    let with = |margin| {
        let end = last(&project.pipe(&[&race[..], &[margin, "--json"]].concat()).expect_code(0));
        (end["ending"].as_str().unwrap().to_owned(), end["meetings_over"].as_u64().unwrap())
    };
    assert_eq!(with("0.3"), ("within_margin".to_owned(), 2));
    assert_eq!(with("0"), ("no_meetings_left".to_owned(), 7));
}

#[test]
fn a_race_ends_when_the_meetings_left_would_hardly_tell_the_rest_apart() {
    let project = project();
    // As many other rows are wrong.
    let axes = ["train.shift=0,20", "train.seed=1,2,3,4,5,6"];
    let race = ["sweep", axes[0], axes[1], "--race", "--by", "score.valid_accuracy", "--json"];
    let end = last(&project.pipe(&race).expect_code(0));
    assert_eq!((&end["ending"], &end["meetings_over"]), (&json!("not_told_apart"), &json!(2)));
    let behind = &end["standings"][1]["behind"];
    assert_eq!(behind["difference"], 0.0);
    assert!(behind["interval"][1].as_f64().unwrap() > 0.05, "{behind}");
}

#[test]
fn a_race_over_the_cache_is_the_race_over_trainings() {
    let (trained, cached) = (project(), project());
    let race = ["sweep", "sizes", "--race", "--json"];
    cached.pipe(&["sweep", "sizes"]).expect_code(0);
    cached.take_log();
    let two = last(&cached.pipe(&race).expect_code(0));
    assert_eq!(cached.take_log(), "");
    assert_eq!(standings(&last(&trained.pipe(&race).expect_code(0))), standings(&two));
}

#[test]
fn what_fails_is_out_of_the_race() {
    let project = project();
    let race = ["sweep", "train.wrong=0,60,30", "train.seed=1,2,3", "--race", "--json"];
    let end = last(&project.pipe(&race).expect_code(1));
    let standing = |place: usize| end["standings"][place]["standing"].as_str().unwrap();
    assert_eq!([0, 1, 2].map(standing), ["leads", "failed", "behind"]);
    assert_eq!((&end["ending"], &end["named"]["train.wrong"]), (&json!("one_left"), &json!(0)));

    let none = ["sweep", "train.wrong=60", "train.label=a,b", "train.seed=1,2", "--race"];
    let text = project.pipe(&none).expect_code(1).stdout;
    expect(&text, "Every configuration failed.");
}

#[test]
fn an_interrupted_race_goes_on_where_it_was() {
    let project = project();
    project.fifo("ready");
    project.fifo("gate");
    let running = project.start_any(&["sweep", "sizes", "--race", "--json", "-j", "1"]);
    read_fifo(&project.path("ready"));
    running.signal(Signal::INT);
    let end = last(&running.end().expect_code(130));
    assert_eq!((&end["ending"], &end["named"]), (&Value::Null, &Value::Null));
    assert_eq!(end["meetings_over"], 2);
    project.take_log();
    std::fs::remove_file(project.path("gate")).unwrap();
    let end = last(&project.pipe(&["sweep", "sizes", "--race", "--json"]).expect_code(0));
    assert_eq!(end["ending"], "no_meetings_left");
    assert_eq!(project.take_log(), "0-3 0-4 1-3 1-4");
}

#[test]
fn a_dry_race_says_how_many_runs_it_may_take() {
    let project = project();
    let dry = project.pipe(&["sweep", "sizes", "--race", "--dry-run"]).expect_code(0);
    expect(
        &dry.stdout,
        "a race of 3 configurations in 4 meetings, over train.seed; at most these runs:",
    );
    let dry = project.pipe(&["sweep", "sizes", "--race", "--dry-run", "--json"]).expect_code(0);
    assert_eq!(dry.events().pop().unwrap()["runs_at_most"], 12);
    assert_eq!(project.take_log(), "");
}

#[test]
fn a_race_that_cannot_be_decided_is_refused() {
    let project = project();
    let refused = |arguments: &[&str], problem: &str, ran: &str| {
        let ended = project.pipe(&[&["sweep", "--race"], arguments].concat()).expect_code(2);
        expect(&ended.stderr, problem);
        assert_eq!(project.take_log(), ran);
    };
    refused(&["train.wrong=1,2"], "no key of seeds or folds over which", "");
    refused(
        &["train.wrong=1,2", "train.seed=1"],
        "at least two meetings, and `train.seed` has one",
        "",
    );
    refused(&["train.seed=1,2"], "at least two configurations", "");
    refused(&["ragged"], "do not have the same values of `train.seed`", "");
    refused(&["least"], "looks for the largest value", "");
    let loss = ["train.wrong=1,2", "train.seed=1,2", "--by", "score.valid_loss"];
    refused(&loss, "cannot be decided by `score.valid_loss`", "");
    refused(&["sizes", "--margin", "2"], "expected a number from 0, below 1", "");
    let rows = ["train.rows=a,b", "train.seed=1,2"];
    refused(&rows, "of different examples", "5-1 5-1 5-2 5-2");
    let test = ["train.wrong=1,2", "train.seed=1,2", "--by", "score.test_f1"];
    refused(
        &test,
        "stage `score` of a configuration has no predictions of `test`",
        "1-1 1-2 2-1 2-2",
    );
}
