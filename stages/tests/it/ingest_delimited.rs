//! `ingest` with CSV and TSV.

use serde_json::{Value, json};

use crate::harness::{Done, Run};

fn train(text: impl AsRef<[u8]>) -> Run {
    Run::new("ingest").input("train", text)
}

fn column(done: &Done, field: &str) -> Vec<Value> {
    done.rows("train").iter().map(|row| row[field].clone()).collect()
}

#[test]
fn quoted_cells_hold_commas_quotation_marks_and_line_ends() {
    let done = train(
        "id,response,label\r\n1,\"a, \"\"b\"\"\r\nc\",A\r\n\r\n2,plain 5\" text,B\r\n3,\"\",A",
    )
    .run();
    assert_eq!(column(&done, "text"), ["a, \"b\"\r\nc", "plain 5\" text", ""]);
    assert_eq!(column(&done, "label"), ["A", "B", "A"]);
    assert_eq!(column(&done, "id"), ["1", "2", "3"]);
    // The second row begins on line 5: the first spans two lines, and line 4 is blank.
    assert_eq!(column(&done, "line"), [2, 5, 6]);
    assert_eq!(done.json("report")["train"]["format"], "csv");
}

#[test]
fn tabs_make_tsv_in_which_quotation_marks_are_text() {
    let done = train("label\tresponse\nA\t\"quoted, open\nB\tb\n").run();
    assert_eq!(column(&done, "text"), ["\"quoted, open", "b"]);
    assert_eq!(done.json("report")["train"]["format"], "tsv");
}

#[test]
fn tabs_between_names_in_quotation_marks_make_csv() {
    let quoted = "\"label\"\t\"response\"\n\"A\"\t\"a \"\"b\"\"\"\n\"B\"\t\"b\"\n";
    let done = train(quoted).run();
    assert_eq!(column(&done, "text"), ["a \"b\"", "b"]);
    assert_eq!(column(&done, "label"), ["A", "B"]);
    assert_eq!(done.json("report")["train"]["format"], "csv");
    // The same without a header.
    let (_, rows) = quoted.split_once('\n').unwrap();
    let by_number = |text: &str| {
        let run = train(text).param("header", false).param("label_field", "1");
        run.param("text_field", "2").run()
    };
    assert_eq!(column(&by_number(rows), "text"), ["a \"b\"", "b"]);
    // In these, quotation marks are text: not all cells have them, and none is doubled or left open.
    for (text, expected) in [
        ("A\t\"a\"\n\"B\"\tb\n", ["\"a\"", "b"]),
        ("0\t\"Come in.\n1\tHow are you?\"\n", ["\"Come in.", "How are you?\""]),
        ("A\tx\nB\t\"hello\n", ["x", "\"hello"]),
    ] {
        assert_eq!(column(&by_number(text), "text"), expected);
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_field() {
    let done = train("\u{feff}label,response\nA,a\n").run();
    assert_eq!(column(&done, "label"), ["A"]);
}

#[test]
fn a_context_cell_is_split_into_turns_on_request() {
    let text = "label,response,context\nA,a,one|two||\nA,b,\n";
    assert_eq!(column(&train(text).run(), "context"), [json!(["one|two||"]), json!([])]);
    let done = train(text).param("context_separator", "||").run();
    assert_eq!(column(&done, "context"), [json!(["one|two", ""]), json!([])]);
}

#[test]
fn an_empty_id_or_label_is_none() {
    let done = train("id,label,response\n,A,a\n").run();
    assert_eq!(column(&done, "id"), ["train_2"]);
    let done = train("id,label,response\nx,,a\n").run();
    assert_eq!(done.error(), "train.in, line 2: no label: the field `label` is empty or absent");
}

#[test]
fn a_header_without_the_text_or_the_required_label_is_refused() {
    assert_eq!(
        train("label,respons\nA,a\n").run().error(),
        "train.in, line 1: read as csv, the header has no field `response`; \
         there are `respons`, `label`"
    );
    assert_eq!(
        train("lable,response\nA,a\n").run().error(),
        "train.in, line 1: read as csv, the header has no field `label`; \
         there are `lable`, `response`"
    );
    let done = train("response\na\n").param("require_labels", false).run();
    assert_eq!(column(&done, "text"), ["a"]);
    assert_eq!(
        train("label,response,response\n").run().error(),
        "train.in, line 1: the header has the field `response` twice"
    );
}

#[test]
fn a_row_with_other_cells_than_the_header_is_malformed() {
    let text = "label,response\nA,a\nA,b,c\nB\nA,d\n";
    assert_eq!(
        train(text).run().error(),
        "train.in, line 3: expected 2 cells as in the header, found 3"
    );
    let done = train(text).param("on_error", "skip").run();
    assert_eq!(column(&done, "text"), ["a", "d"]);
    let skipped: Vec<_> = done.rows("skipped").iter().map(|row| row["raw"].clone()).collect();
    assert_eq!(skipped, ["A,b,c", "B"]);
}

#[test]
fn a_quotation_mark_left_open_does_not_swallow_the_rest_unnoticed() {
    for end in ["", "\n", "\nB,b\n"] {
        let done = train(format!("label,response\nA,a\nA,\"open{end}")).run();
        let problem = "a quotation mark is opened here and never closed";
        assert_eq!(done.error(), format!("train.in, line 3: {problem}"));
    }
    // The same with more text than a record may have, which must not fill the memory.
    let rest = "x,y\n".repeat((16 << 20) / 4);
    let done = train(format!("label,response\nA,\"open{rest}")).run();
    let problem = "longer than 16 MiB: is a quotation mark left open?";
    assert_eq!(done.error(), format!("train.in, line 2: {problem}"));
}

#[test]
fn blank_lines_at_the_end_are_no_record() {
    for end in ["", "\n", "\r\n", "\n\n\r\n"] {
        let done = train(format!("label,response\nA,\"a\"{end}")).run();
        assert_eq!(column(&done, "text"), ["a"], "{end:?}");
    }
}

#[test]
fn cells_of_any_length_and_many_columns_are_read() {
    let long = "y".repeat(100_000);
    let names: Vec<String> = (0..300).map(|index| format!("c{index}")).collect();
    let cells = vec!["z"; 300].join(",");
    let text = format!("label,{},response\nA,{cells},{long}\n", names.join(","));
    let done = train(text).run();
    assert_eq!(column(&done, "text"), [long]);
}

#[test]
fn a_cell_that_is_not_utf8_is_malformed() {
    let done = train(b"label,response\nA,caf\xe9\n").run();
    assert_eq!(done.error(), "train.in, line 2: expected UTF-8, found the byte 0xe9 at byte 6");
}

#[test]
fn the_format_is_seen_in_the_content_or_given() {
    // A comma-separated header that contains a tab is CSV; read as TSV it lacks the text field.
    let text = "label,response,\"a\tb\"\nA,a,x\n";
    assert_eq!(column(&train(text).run(), "text"), ["a"]);
    let error = train(text).param("format", "tsv").run().error();
    assert!(error.contains("read as tsv, the header has no field `response`"), "{error}");
}

#[test]
fn an_empty_file_has_no_header() {
    let error = train("").param("format", "csv").run().error();
    assert_eq!(error, "train.in: expected a header, found an empty file");
    assert_eq!(train("label,response\n").run().error(), "train.in: holds no rows");
}

#[test]
fn semicolons_and_bars_are_seen_in_the_header_and_other_characters_are_named() {
    let text = "label;response;note\nA;\"a; b\";x, y\nB;c;\n";
    for delimiter in [";", "|"] {
        let done = train(text.replace(';', delimiter)).run();
        let first = format!("a{delimiter} b");
        assert_eq!(column(&done, "text"), [first.as_str(), "c"]);
        assert_eq!(done.json("report")["train"]["format"], "csv");
    }
    let done = train(text.replace(';', "^")).param("delimiter", "^").run();
    assert_eq!(column(&done, "text"), ["a^ b", "c"]);
    // Quotation marks are special in a file of tabs if it is called CSV.
    let tabs = text.replace(';', "\t");
    let done = train(&tabs).param("format", "csv").param("delimiter", "tab").run();
    assert_eq!(column(&done, "text"), ["a\t b", "c"]);
    let done = train(tabs).param("format", "csv").run();
    assert_eq!(column(&done, "text"), ["a\t b", "c"]);
    let check = |run: Run| run.check().unwrap_err();
    assert!(check(train("").param("delimiter", "||")).contains("expected one ASCII character"));
    let run = train("").param("format", "jsonl").param("delimiter", ",");
    assert_eq!(check(run), "`format: jsonl` has no `delimiter`");
    let run = train("").param("format", "tsv").param("delimiter", ",");
    assert!(check(run).contains("set `format: csv`"));
}

#[test]
fn without_a_header_columns_are_called_by_their_number() {
    for delimiter in [",", ";", "\t", "|"] {
        let text = ["A", "a"].join(delimiter) + "\n" + &["B", "b"].join(delimiter) + "\n";
        let run = || train(&text).param("header", false).param("label_field", "1");
        let done = run().param("text_field", "2").run();
        assert_eq!(column(&done, "text"), ["a", "b"]);
        assert_eq!(
            (column(&done, "label"), column(&done, "line")),
            (vec!["A".into(), "B".into()], vec![1.into(), 2.into()])
        );
        let error = run().param("text_field", "3").run().error();
        assert!(error.contains("there is no column `3`; there are `1`, `2`"), "{error}");
        let error = train(text.clone() + "C\n").param("header", false);
        let error = error.param("label_field", "1").param("text_field", "2").run().error();
        assert!(error.contains("line 3: expected 2 cells as in the first row, found 1"), "{error}");
    }
}

#[test]
fn a_delimiter_at_the_end_of_rows_and_lines_of_white_space_are_no_cells() {
    let done = train("label,response\nA,a,\n  \nB,b\n").run();
    assert_eq!(column(&done, "text"), ["a", "b"]);
    assert_eq!(column(&done, "line"), [2, 4]);
    let error = train("label,response\nA,a,c\n").run().error();
    assert!(error.contains("expected 2 cells as in the header, found 3"), "{error}");
    assert_eq!(
        column(&train("response\na\n \n").param("require_labels", false).run(), "text"),
        ["a", " "]
    );
}
