//! A reliability diagram: of the rows predicted with a confidence of about 0.8, are 80 % right? Dots
//! on the diagonal say yes. The bars below show the number of rows.

use crate::report::charts::{
    BOTTOM, Caption, Drawing, Figures, HEIGHT, Ids, Plot, RIGHT, Scale, TOP, WIDTH, circle, framed,
    line, rectangle, told,
};
use crate::report::data::Bin;
use crate::report::html::{Html, tag};
use crate::text::figures::{figure, grouped};

pub fn reliability(ids: &mut Ids, bins: &[Bin], error: Option<f64>) -> Html {
    let lowest = bins.iter().map(|bin| bin.confidence).fold(1.0, f64::min);
    let floor = if lowest >= 0.5 { 0.5 } else { 0.0 };
    let whole = Plot::around((0.0, 1.0), (0.0, 1.0));
    let plot = Plot {
        x: Scale { low: floor, step: if floor > 0.0 { 0.1 } else { 0.2 }, ..whole.x },
        y: whole.y,
    };
    let mut marks = plot.axes("confidence", "share that is right");
    let diagonal = line((plot.x.at(floor), plot.y.at(floor)), (RIGHT, TOP));
    marks.push(diagonal.class("mark"));
    let most = bins.iter().map(|bin| bin.rows).max().unwrap_or(1) as f64;
    for bin in bins {
        let (x, y) = (plot.x.at(bin.confidence), plot.y.at(bin.accuracy));
        let height = 34.0 * bin.rows as f64 / most;
        let count = rectangle((x - 4.0, BOTTOM - height), (8.0, height)).class("count");
        let whisker = line((x, plot.y.at(bin.interval[0])), (x, plot.y.at(bin.interval[1])));
        let group = tag("g")
            .child(count)
            .child(whisker.class("whisker"))
            .child(circle((x, y), 4.0).class("point"));
        marks.push(told(&words(bin), group));
    }
    let description = match error {
        Some(error) => format!(
            "Share of right predictions by confidence, with 95 % intervals; on the diagonal they \
             agree. They differ by {} on average over the rows.",
            figure(error)
        ),
        None => "Share of right predictions by confidence, with 95 % intervals; on the diagonal \
                 they agree."
            .to_owned(),
    };
    let caption = Caption { title: "Reliability".to_owned(), description };
    let drawing = Drawing { width: WIDTH, height: HEIGHT, marks, classes: "" };
    framed(ids, &caption, Html::new(), drawing, figures(bins))
}

fn words(bin: &Bin) -> String {
    let (confidence, accuracy) = (figure(bin.confidence), figure(bin.accuracy));
    let plural = if bin.rows == 1 { "" } else { "s" };
    format!("confidence {confidence}: {accuracy} right, of {} row{plural}", grouped(bin.rows))
}

fn figures(bins: &[Bin]) -> Figures {
    let head = ["confidence", "share right", "95 % interval", "rows"];
    let row = |bin: &Bin| {
        let [low, high] = bin.interval.map(figure);
        let texts = [figure(bin.confidence), figure(bin.accuracy), format!("{low} to {high}")];
        texts.into_iter().chain([grouped(bin.rows)]).collect()
    };
    Figures { head: head.map(str::to_owned).to_vec(), rows: bins.iter().map(row).collect() }
}
