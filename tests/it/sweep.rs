//! `pipe sweep`: the combinations, the stages that they share, the table, and failures.

use serde_json::Value;

use crate::harness::Project;

/// `data` is common to all; `train` writes ten predictions of which the first `right` are right;
/// `score` is the built-in.
const PIPELINE: &str = r#"
vars: {text: words, seed: 1}
stages:
  data:
    run: echo data >> ran.log; echo "${text}" > "$OUT_o"
    outputs: [o]
  train:
    run: |
      echo "train-$PARAM_right-$PARAM_seed" >> ran.log
      test "$PARAM_right" != 0 || { echo "nothing is right" >&2; exit 3; }
      for i in 0 1 2 3 4 5 6 7 8 9; do
        gold=NO; other=YES; if [ $((i % 2)) = 1 ]; then gold=YES; other=NO; fi
        label=$other; if [ $i -lt $((PARAM_right + PARAM_seed - 1)) ]; then label=$gold; fi
        echo "{\"id\":\"$i\",\"label\":\"$label\",\"gold\":\"$gold\"}"
      done > "$OUT_predictions"
    inputs: {data: data:o}
    params: {right: 5, seed: "${seed}"}
    outputs: [predictions]
    publish: {predictions: predictions.jsonl}
  score:
    inputs: {valid: train:predictions}
    params: {positive: YES, bootstrap: 0}
sweeps:
  rates:
    train.right: [3, 10, 6]
    metric: score.valid_accuracy
  worst: {train.right: [3, 10, 6], metric: score.valid_accuracy, order: ascending}
  some:
    base: {train.right: 4}
    runs: [{train.seed: 1}, {train.right: 8}, {train.right: 8, train.seed: 2, text: letters}]
  seeds: {train.right: [3, 6], seed: [1, 3], over: seed, metric: score.valid_accuracy}
"#;

fn project() -> Project {
    Project::new(PIPELINE)
}

#[track_caller]
fn expect(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

/// The rows of the table, in its order.
fn rows(json: &crate::harness::Ended) -> Vec<Value> {
    json.events().into_iter().filter(|line| line["event"] == "combination").collect()
}

fn column(rows: &[Value], key: &str) -> Vec<String> {
    rows.iter().map(|row| row["values"][key].to_string()).collect()
}

#[test]
fn combinations_share_what_they_have_in_common_and_end_in_a_sorted_table() {
    let project = project();
    let sweep = project.pipe(&["sweep", "rates", "--json"]).expect_code(0);
    assert_eq!(project.take_log(), "data train-10-1 train-3-1 train-6-1");
    let rows = rows(&sweep);
    assert_eq!(column(&rows, "train.right"), ["10", "6", "3"]);
    assert_eq!(rows[0]["metrics"]["score.valid_accuracy"], 1.0);
    assert_eq!(rows[2]["metrics"]["score.valid_accuracy"], 0.3);
    assert_eq!(rows[0]["stages"]["data"], "data");
    assert_eq!(rows[0]["stages"]["train"], "train@right=10");
    let key = rows[0]["keys"]["score"].as_str().unwrap();
    expect(
        &project.pipe(&["cache", "show", "--record", key]).expect_code(0).stdout,
        "score@right=10",
    );
    let shown = project.pipe(&["show", "score@right=10:scores"]).expect_code(0);
    expect(&shown.stdout, "accuracy");
    // Each combination would overwrite the files that the one before had published.
    assert!(!project.path("predictions.jsonl").exists());

    let text = project.pipe(&["sweep", "rates"]).expect_code(0);
    assert_eq!(project.take_log(), "");
    let lines: Vec<&str> = text.stdout.lines().collect();
    assert_eq!(lines[0], "3 combinations; sorted by score.valid_accuracy");
    assert!(lines[2].starts_with("#  valid_accuracy  right  "), "{}", text.stdout);
    assert!(lines[3].starts_with("1          1.0000     10  "), "{}", text.stdout);
    assert!(lines[5].starts_with("3          0.3000      3  "), "{}", text.stdout);
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn a_sweep_and_a_plain_run_share_their_results() {
    let project = project();
    project.run(&["--set", "train.right=6"]).expect_code(0);
    project.take_log();
    project.pipe(&["sweep", "train.right=6,7"]).expect_code(0);
    assert_eq!(project.take_log(), "train-7-1");
    project.expect_run(&["--set", "train.right=7"], "data=hit score=hit train=hit");
    // The new value is compared with all earlier ones.
    let status = project.pipe(&["explain", "train", "--set", "train.right=8"]).expect_code(0);
    expect(&status.stdout, "will run: right 7 → 8");
}

#[test]
fn axes_may_be_typed_variables_too_and_make_the_product() {
    let project = project();
    let sweep = project.pipe(&["sweep", "train.right=3,4", "text=a,b", "--json"]).expect_code(0);
    let rows = rows(&sweep);
    assert_eq!(rows.len(), 4);
    assert_eq!(project.take_log(), "data data train-3-1 train-3-1 train-4-1 train-4-1");
    let mut names: Vec<String> =
        rows.iter().map(|row| row["stages"]["train"].to_string()).collect();
    names.sort();
    assert_eq!(names[0], "\"train@right=3,text=a\"");
    assert_eq!(rows[0]["stages"]["data"].as_str().unwrap().split('@').next(), Some("data"));
    let mut data: Vec<String> = rows.iter().map(|row| row["stages"]["data"].to_string()).collect();
    data.sort();
    data.dedup();
    assert_eq!(data, ["\"data@text=a\"", "\"data@text=b\""]);
}

#[test]
fn a_list_of_runs_is_no_product() {
    let project = project();
    let sweep = project.pipe(&["sweep", "some", "--json"]).expect_code(0);
    assert_eq!(project.take_log(), "data data train-4-1 train-8-1 train-8-2");
    let rows = rows(&sweep);
    assert_eq!(rows.len(), 3);
    // In a list of runs, names show only unusual values; in a product, every value.
    let mut names: Vec<&str> =
        rows.iter().map(|row| row["stages"]["train"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["train@right=4", "train@seed=2", "train@usual"]);
    // A key that a combination does not set is shown with its value in the file.
    let by_right = rows.iter().find(|row| row["values"]["train.right"] == 4).unwrap();
    assert_eq!(by_right["values"]["text"], "words");
}

#[test]
fn a_named_sweep_takes_further_axes_and_what_set_fixes_is_none() {
    let project = project();
    let sweep = project.pipe(&["sweep", "rates", "seed=1,2", "--json"]).expect_code(0);
    assert_eq!(rows(&sweep).len(), 6);
    let fixed = project.pipe(&["sweep", "seeds", "--set", "seed=2", "--json"]).expect_code(0);
    let rows = rows(&fixed);
    assert_eq!(rows.len(), 2);
    assert!(rows[0]["values"].get("seed").is_none());
    assert_eq!(rows[0]["stages"]["train"], "train@right=6");
    let twice = project.pipe(&["sweep", "seed=1,2", "--set", "seed=2"]).expect_code(2);
    expect(&twice.stderr, "`seed` is given twice");
}

#[test]
fn means_and_deviations_are_taken_over_a_key() {
    let project = project();
    let sweep = project.pipe(&["sweep", "seeds", "--json"]).expect_code(0);
    let rows = rows(&sweep);
    assert_eq!(column(&rows, "train.right"), ["6", "3"]);
    assert_eq!(rows[0]["runs"], 2);
    // 0.6 and 0.8.
    assert!((rows[0]["metrics"]["score.valid_accuracy"].as_f64().unwrap() - 0.7).abs() < 1e-12);
    let deviation = rows[0]["deviations"]["score.valid_accuracy"].as_f64().unwrap();
    assert!((deviation - 0.02f64.sqrt()).abs() < 1e-12, "{deviation}");
    let text = project.pipe(&["sweep", "seeds"]).expect_code(0).stdout;
    expect(&text.replace('\n', " "), "mean ± standard deviation over seed");
    expect(&text, "0.7000 ± 0.1414");
    let apart = project.pipe(&["sweep", "rates", "seed=1,2", "--over", "seed", "--csv"]);
    assert_eq!(apart.expect_code(0).stdout.lines().count(), 4);
    let wrong = project.pipe(&["sweep", "rates", "--over", "sed"]).expect_code(2);
    expect(&wrong.stderr, "`--over sed`: the sweep has no such key");
}

#[test]
fn the_order_and_the_metric_can_be_chosen() {
    let project = project();
    let of = |arguments: &[&str]| {
        let all = [&["sweep", "--json"], arguments].concat();
        column(&rows(&project.pipe(&all).expect_code(0)), "train.right").join(" ")
    };
    assert_eq!(of(&["worst"]), "3 6 10");
    assert_eq!(of(&["rates", "--ascending"]), "3 6 10");
    assert_eq!(of(&["train.right=6,10,3", "--by", "score.valid_accuracy"]), "10 6 3");
    assert_eq!(of(&["train.right=6,10,3", "--by", "valid_accuracy"]), "10 6 3");
    // There is no metric of that name: a warning, and the order of the file.
    let unknown = ["sweep", "train.right=6,10,3", "--by", "score.valid_acuracy", "--json"];
    let unknown = project.pipe(&unknown).expect_code(0);
    assert_eq!(column(&rows(&unknown), "train.right").join(" "), "6 10 3");
    let typo = project.pipe(&["sweep", "train.right=6,10", "--by", "score.valid_acuracy"]);
    expect(&typo.stderr, "did you mean `score.valid_accuracy`?");
    let stage = project.pipe(&["sweep", "train.right=6,10", "--by", "scor.valid_f1"]);
    expect(&stage.expect_code(2).stderr, "did you mean `score`?");
}

#[test]
fn a_failed_combination_is_shown_and_the_others_go_on() {
    let project = project();
    let sweep = project.pipe(&["sweep", "train.right=3,0,7", "--json", "--jobs", "1"]);
    let sweep = sweep.expect_code(1);
    let rows = rows(&sweep);
    assert_eq!(column(&rows, "train.right"), ["7", "3", "0"]);
    assert_eq!(rows[2]["outcome"], "failed");
    assert_eq!(rows[2]["failed_stage"], "train@right=0");
    assert_eq!(rows[2]["message"], "exit code 3");
    let text = project.pipe(&["sweep", "train.right=3,0,7"]).expect_code(1);
    expect(&text.stdout, "2 of 3 combinations are done");
    expect(&text.stdout, "#3: `train` failed: exit code 3");
    project.take_log();

    let fast = ["sweep", "train.right=0,4", "--fail-fast", "--jobs", "1", "--json"];
    let fast = project.pipe(&fast).expect_code(1);
    let rows = self::rows(&fast);
    assert_eq!(project.take_log(), "train-0-1");
    assert_eq!(rows[1]["outcome"], "unfinished");
}

#[test]
fn csv_has_a_line_for_each_combination_and_nothing_else() {
    let project = project();
    let csv = project.pipe(&["sweep", "train.right=3,7", "text=a,\"b, c\"", "--csv"]);
    let csv = csv.expect_code(0).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 5, "{csv}");
    assert!(lines[0].starts_with("train.right,text,outcome,seconds,score.valid_accuracy,"));
    assert!(lines.iter().any(|line| line.starts_with("7,\"b, c\",done,")), "{csv}");
}

#[test]
fn a_dry_run_says_what_is_shared_and_runs_nothing() {
    let project = project();
    let plan = project.pipe(&["sweep", "rates", "--dry-run"]).expect_code(0);
    assert_eq!(
        plan.stdout,
        "3 combinations with 9 stages, of which 7 differ; shared stages run once\n\
         ● data     never ran\n\
         ○ train@…  3 variants: all run after others\n\
         ○ score@…  3 variants: all run after others\n\
         would run data, train@… (3) and score@… (3)\n"
    );
    assert!(!project.path("cache").exists());
    project.pipe(&["sweep", "train.right=3"]).expect_code(0);
    let plan = project.pipe(&["sweep", "rates", "--dry-run"]).expect_code(0).stdout;
    expect(&plan, "train@…  3 variants: 1 up to date, 2 run");
    expect(&plan, "at most; 3 stages are up to date");
    let json = project.pipe(&["sweep", "rates", "--dry-run", "--json"]).expect_code(0);
    assert_eq!(json.events().last().unwrap()["stages"], 7);
    assert_eq!(json.events().last().unwrap()["stages_of_all"], 9);
}

#[test]
fn the_sweeps_of_a_file_are_listed() {
    let list = project().pipe(&["sweep"]).expect_code(0);
    assert_eq!(
        list.stdout,
        "rates  3 combinations  of train.right\n\
         worst  3 combinations  of train.right\n\
         some   3 combinations  of train.right, train.seed and text\n\
         seeds  4 combinations  of train.right and seed\n"
    );
    let json = project().pipe(&["sweep", "--json"]).expect_code(0);
    assert_eq!(json.events()[1]["order"], "ascending");
    let typo = project().pipe(&["sweep", "rats"]).expect_code(2);
    expect(&typo.stderr, "there is no sweep `rats`");
    expect(&typo.stderr, "did you mean `rates`?");
}

#[test]
fn what_is_wrong_with_a_sweep_is_said_by_every_command() {
    let of = |sweep: &str| {
        let (stages, _) = PIPELINE.split_once("sweeps:").unwrap();
        let project = Project::new(&format!("{stages}sweeps:\n  bad: {sweep}\n"));
        project.pipe(&["status"]).expect_code(2).stderr
    };
    for (sweep, parts) in [
        ("{train.rihgt: [1]}", ["unknown parameter `rihgt` of stage `train`", "`right`?"]),
        ("{trian.right: [1]}", ["there is no stage `trian`", "did you mean `train`?"]),
        ("{sed: [1]}", ["there is no variable `sed`", "did you mean `seed`?"]),
        ("{train.right: []}", ["`train.right` in sweep `bad` is an empty list", "-->"]),
        ("{train.right: 3}", ["must be a list, not a number", "under `base:`"]),
        ("{train.right: [3, 4, 3]}", ["has the value 3 twice", "-->"]),
        ("{}", ["sweep `bad` is empty", "or `runs:`"]),
        ("{runs: {}}", ["`runs` of sweep `bad` must be a list", "-->"]),
        ("{runs: [{train.rihgt: 1}]}", ["unknown parameter `rihgt`", "`right`?"]),
        ("{seed: [1], metric: scor.f1}", ["there is no stage `scor`", "did you mean `score`?"]),
        ("{seed: [1], order: up}", ["`order` of sweep `bad` is `up`", "`descending`"]),
        ("{seed: [1], over: sed}", ["`sed` is not a key of the sweep", "did you mean `seed`?"]),
    ] {
        let text = of(sweep);
        for part in parts {
            expect(&text, part);
        }
        assert_eq!(text.matches("error:").count(), 1, "{text}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_refused_before_anything_runs() {
    let project = project();
    let typed = project.pipe(&["sweep", "score.bootstrap=0,some"]).expect_code(2);
    expect(&typed.stderr, "parameter `bootstrap` of stage `score` is");
    expect(&typed.stderr, "--> score.bootstrap=0,some");
    let yaml = PIPELINE.replace("  some:\n", "  bad: {score.bootstrap: [1, -1]}\n  some:\n");
    let project = Project::new(&yaml);
    let in_file = project.pipe(&["sweep", "bad"]).expect_code(2);
    expect(&in_file.stderr, "bad: {score.bootstrap: [1, -1]}");
    for (argument, message) in [
        ("train.right=", "`train.right=` has no values"),
        ("train.right=1,2,1", "`train.right` takes the value 1 twice"),
        ("train.rihgt=1", "unknown parameter `rihgt`"),
    ] {
        expect(&project.pipe(&["sweep", argument]).expect_code(2).stderr, message);
    }
    assert_eq!(project.take_log(), "");
}

#[test]
fn a_sweep_goes_over_a_pipeline_with_variants() {
    let project = Project::new(
        r#"
stages:
  a: {foreach: [1, 2], run: 'echo "a$PARAM_rate-${item}" >> ran.log; echo "$PARAM_rate-${item}" > $OUT_o', params: {rate: 1}, outputs: [o]}
  b: {run: 'echo b >> ran.log; ls $IN_all > $OUT_o', inputs: {all: "a@*:o"}, outputs: [o]}
"#,
    );
    let sweep = project.pipe(&["sweep", "a.rate=1,2", "--json"]).expect_code(0);
    assert_eq!(project.take_log(), "a1-1 a1-2 a2-1 a2-2 b b");
    assert_eq!(rows(&sweep)[1]["stages"]["a@2"], "a@2,rate=2");
    let one = project.pipe(&["sweep", "a@1.rate=1,3", "--json"]).expect_code(0);
    assert_eq!(project.take_log(), "a3-1 b");
    assert_eq!(rows(&one)[0]["stages"]["a@2"], "a@2");
    project.expect_run(&["--set", "a.rate=2"], "a@1=hit a@2=hit b=hit");
}

#[test]
fn interrupting_ends_the_sweep_once_for_all_and_shows_what_is_done() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo $PARAM_n >> ran.log; if [ $PARAM_n = 2 ]; then echo here > fifo; sleep 60; fi; echo > $OUT_o', params: {n: 0}, outputs: [o]}\n",
    );
    let fifo = project.fifo("fifo");
    let sweep = project.start_any(&["sweep", "a.n=1,2,3", "--jobs", "1", "--json"]);
    assert_eq!(crate::harness::read_fifo(&fifo), "here\n");
    sweep.signal(rustix::process::Signal::INT);
    let ended = sweep.end().expect_code(130);
    assert_eq!(project.take_log(), "1 2");
    let rows = rows(&ended);
    let outcomes: Vec<&str> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["done", "failed", "unfinished"]);
}

#[test]
fn the_record_of_runs_of_the_default_pipeline_plans_without_the_network() {
    let project = Project::new("stages: {}\n");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/pipeline.yaml");
    let of = |arguments: &[&str]| {
        let all = [&["-f", file, "--cache", "store", "sweep", "--dry-run", "--json"], arguments];
        let ended = project.pipe(&all.concat()).expect_code(0);
        let names =
            ended.events().into_iter().filter_map(|it| it["stage"].as_str().map(String::from));
        let count = |family: &str| names.clone().filter(|name| name.starts_with(family)).count();
        let planned = ended.events().pop().unwrap();
        (planned["combinations"].clone(), [count("ingest"), count("split"), count("finetune")])
    };
    assert_eq!(of(&["record"]), (28.into(), [1, 4, 25]));
    // On a small scale: the epochs and the model are the same for all, and one run has a label map.
    let small = ["record", "--set", "model=models/small-roberta", "--set", "finetune.epochs=1"];
    assert_eq!(of(&small), (18.into(), [1, 4, 15]));
    assert_eq!(of(&["rates"]), (6.into(), [1, 1, 6]));
    assert!(!project.path("store").exists());
}

#[test]
fn a_learning_curve_is_a_sweep_over_shares_and_seeds_with_what_more_data_would_bring() {
    let project = Project::new(
        "stages:\n  ingest:\n    inputs: {train: news.csv}\n    params: {text_field: headline, \
         label_field: category}\n  split:\n    inputs: {examples: ingest:train}\n    \
         params: {share: 0.5, stratify: true}\n  baseline:\n    \
         inputs: {train: split:train, valid: split:valid}\n  score:\n    \
         inputs: {valid: baseline:valid}\n    params: {bootstrap: 0}\n",
    );
    project.write("news.csv", &crate::init::news(","));
    let curve = ["sweep", "curve", "split.train_share=0.1,0.4,1", "split.seed=1,2"];
    let told = project.pipe(&curve).expect_code(0).stdout;
    assert!(told.contains("6 combinations; sorted by baseline.valid_macro_f1; mean"), "{told}");
    assert!(told.contains("\nlearning curve: 1 - baseline.valid_macro_f1 = "), "{told}");
    let told = project.pipe(&[&curve[..], &["--json"]].concat()).expect_code(0).stdout;
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "learning_curve", "{told}");
    // The report draws the same curve.
    let report = project.pipe(&["report", "--json"]).expect_code(0).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["comparison"]["learning_curve"], last["curve"]);
    let page = project.pipe(&["report", "--out", "-"]).expect_code(0).stdout;
    assert!(
        page.contains("<h3>Learning curve</h3>") && page.contains("twice the data would bring")
    );
    let [now, doubled] = ["now", "doubled"].map(|it| last["curve"][it].as_f64().unwrap());
    assert!(now <= doubled && doubled <= 1.0, "{last}");
    let without = Project::new("stages: {a: {run: 'true', outputs: [x]}}\n");
    let told = without.pipe(&["sweep", "curve"]).expect_code(2).stderr;
    assert!(told.contains("`curve` needs one stage that uses `split`"), "{told}");
}
