//! Line charts: training curves, precision and recall, the effect of the threshold.

use crate::report::charts::{
    BOTTOM, Caption, Drawing, Figures, HEIGHT, Ids, LEFT, Plot, RIGHT, TOP, WIDTH, circle, framed,
    label, legend, line, path_through, rectangle, told,
};
use crate::report::html::{Html, tag};

/// One line of the chart.
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A tooltip for a range of x.
pub struct Band {
    pub from: f64,
    pub to: f64,
    pub text: String,
}

/// A straight line across the chart, with a label.
pub enum Mark {
    AtX(f64, String),
    AtY(f64, String),
}

/// A line chart.
pub struct Lines {
    pub caption: Caption,
    pub x_name: String,
    pub y_name: String,
    /// The range of the axes; `None` means the range of the points.
    pub x_range: Option<(f64, f64)>,
    pub y_range: Option<(f64, f64)>,
    pub series: Vec<Series>,
    pub marks: Vec<Mark>,
    pub bands: Vec<Band>,
    pub figures: Figures,
}

/// Lines with at most this many points have dots.
const DOTS: usize = 24;

pub fn lines(ids: &mut Ids, chart: Lines) -> Html {
    let points = || chart.series.iter().flat_map(|series| series.points.iter().copied());
    let x_range = chart.x_range.or_else(|| range(points().map(|(x, _)| x)));
    let y_range = chart.y_range.or_else(|| range(points().map(|(_, y)| y)));
    let (Some(x_range), Some(y_range)) = (x_range, y_range) else { return Html::new() };
    let plot = Plot::around(x_range, y_range);
    let mut marks = plot.axes(&chart.x_name, &chart.y_name);
    for mark in &chart.marks {
        marks.push(mark_of(mark, &plot));
    }
    for (index, series) in chart.series.iter().enumerate() {
        let class = format!("series s{index}");
        let places: Vec<(f64, f64)> =
            series.points.iter().map(|(x, y)| (plot.x.at(*x), plot.y.at(*y))).collect();
        if places.len() > 1 {
            let path = path_through(places.iter().copied());
            marks.push(tag("path").class(&class).attr("d", path));
        }
        if places.len() <= DOTS {
            let dots = places.iter().map(|place| circle(*place, 2.6));
            marks.push(tag("g").class(&format!("dots s{index}")).children(dots));
        }
    }
    for band in &chart.bands {
        let (from, to) = (plot.x.at(band.from), plot.x.at(band.to));
        let area = rectangle((from, TOP), (to - from, BOTTOM - TOP)).class("band");
        marks.push(told(&band.text, area));
    }
    let names: Vec<(usize, &str)> =
        chart.series.iter().map(|series| series.name.as_str()).enumerate().collect();
    let key = if names.len() > 1 { legend(names) } else { Html::new() };
    let drawing = Drawing { width: WIDTH, height: HEIGHT, marks, classes: "" };
    framed(ids, &chart.caption, key, drawing, chart.figures)
}

/// Divides a range into equal bands, each with the text for its centre.
pub fn bands(low: f64, high: f64, count: usize, text: impl Fn(f64) -> Option<String>) -> Vec<Band> {
    let width = (high - low) / count.max(1) as f64;
    let band = |index: usize| {
        let from = low + index as f64 * width;
        Some(Band { from, to: from + width, text: text(from + width / 2.0)? })
    };
    (0..count).filter_map(band).collect()
}

fn mark_of(mark: &Mark, plot: &Plot) -> Html {
    match mark {
        Mark::AtX(value, text) => {
            let x = plot.x.at(*value);
            let (side, class) = match x < (LEFT + RIGHT) / 2.0 {
                true => (x + 5.0, "note"),
                false => (x - 5.0, "note end"),
            };
            let words = label(side, BOTTOM - 6.0, text).class(class);
            tag("g").child(line((x, TOP), (x, BOTTOM)).class("mark")).child(words).into()
        }
        Mark::AtY(value, text) => {
            let y = plot.y.at(*value);
            let above = if y - TOP > 14.0 { y - 5.0 } else { y + 13.0 };
            let words = label(LEFT + 5.0, above, text).class("note");
            tag("g").child(line((LEFT, y), (RIGHT, y)).class("mark")).child(words).into()
        }
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    finite.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((f64::min(low, value), f64::max(high, value))),
    })
}
