//! SVG charts: scales, axes, and the frame of every chart with a title, a description, and its
//! numbers as a table for readers who cannot see it. Colours are classes of the page's style sheet.

pub mod graph;
pub mod interval;
pub mod lines;
pub mod parallel;
pub mod reliability;

use crate::report::html::{Html, Tag, tag};

/// Unique identifiers within a page.
#[derive(Debug, Default)]
pub struct Ids(usize);

impl Ids {
    /// `c1`, `c2` and so on.
    pub fn fresh(&mut self) -> String {
        self.0 += 1;
        format!("c{}", self.0)
    }
}

/// The texts of a chart.
pub struct Caption {
    pub title: String,
    /// A sentence that describes the drawing.
    pub description: String,
}

/// The numbers of a chart as a table.
#[derive(Default)]
pub struct Figures {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// Puts a chart into its frame. `legend` comes between caption and drawing.
pub fn framed(
    ids: &mut Ids,
    caption: &Caption,
    legend: Html,
    drawing: Drawing,
    figures: Figures,
) -> Html {
    let wide = drawing.classes.contains("wide");
    let svg = drawing.into_svg(ids, caption);
    // A chart wider than the page scrolls.
    let svg = if wide { tag("div").class("wide-box").child(svg).into() } else { svg };
    let data = tag("details")
        .class("data")
        .child(tag("summary").text("Figures"))
        .child(tag("div").class("scroll").child(table(&figures)));
    let heading = tag("figcaption").child(tag("h4").text(&caption.title)).child(legend);
    tag("figure").class("chart").child(heading).child(svg).child(data).into()
}

/// A plain table whose first column names the rows.
pub fn table(figures: &Figures) -> Html {
    let head = figures.head.iter().map(|name| tag("th").attr("scope", "col").text(name));
    let row = |cells: &Vec<String>| {
        let cell = |(index, cell): (usize, &String)| match index {
            0 => tag("th").attr("scope", "row").text(cell),
            _ => tag("td").text(cell),
        };
        tag("tr").children(cells.iter().enumerate().map(cell))
    };
    tag("table")
        .class("plain")
        .child(tag("thead").child(tag("tr").children(head)))
        .child(tag("tbody").children(figures.rows.iter().map(row)))
        .into()
}

/// A drawing and its size in pixels.
pub struct Drawing {
    pub width: f64,
    pub height: f64,
    pub marks: Html,
    /// Additional classes of the `svg` element.
    pub classes: &'static str,
}

impl Drawing {
    fn into_svg(self, ids: &mut Ids, caption: &Caption) -> Html {
        let id = ids.fresh();
        let (title, text) = (format!("{id}t"), format!("{id}d"));
        tag("svg")
            .class(&format!("drawing {}", self.classes))
            .attr("viewBox", format!("0 0 {:.0} {:.0}", self.width, self.height))
            .attr("width", format!("{:.0}", self.width))
            .attr("height", format!("{:.0}", self.height))
            .attr("role", "img")
            .attr("aria-labelledby", &title)
            .attr("aria-describedby", &text)
            .child(tag("title").attr("id", &title).text(&caption.title))
            .child(tag("desc").attr("id", &text).text(&caption.description))
            .child(self.marks)
            .into()
    }
}

/// Maps numbers to coordinates along one axis.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub from: f64,
    pub to: f64,
    /// The distance between two ticks.
    pub step: f64,
}

impl Scale {
    /// Extends the range to round numbers, so that both ends have a tick.
    pub fn nice(low: f64, high: f64, from: f64, to: f64) -> Scale {
        let (low, high) = match low < high {
            true => (low, high),
            false => (low - low.abs().max(1.0) * 0.05, low + low.abs().max(1.0) * 0.05),
        };
        let step = step(high - low);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Scale { low, high, from, to, step }
    }

    pub fn at(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// The ticks: round numbers with as many digits as distinguish them.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let step = self.step;
        let first = (self.low / step - 1e-6).ceil();
        let count = ((self.high / step + 1e-6).floor() - first).max(0.0) as usize;
        let value = |index: usize| (first + index as f64) * step;
        (0..=count.min(20)).map(|index| (value(index), number(value(index), step))).collect()
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides the span into four to eight parts.
fn step(span: f64) -> f64 {
    let raw = (span / 5.0).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|it| it * power >= raw * 0.999);
    factor.unwrap_or(10.0) * power
}

fn number(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    if digits > 4 && value != 0.0 {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.digits$}");
    if text.trim_start_matches('-').chars().all(|it| "0.".contains(it)) { "0".into() } else { text }
}

/// A plot of ordinary size, with its two axes.
pub struct Plot {
    pub x: Scale,
    pub y: Scale,
}

pub const WIDTH: f64 = 320.0;
pub const HEIGHT: f64 = 236.0;
pub const LEFT: f64 = 46.0;
pub const RIGHT: f64 = 310.0;
pub const TOP: f64 = 10.0;
pub const BOTTOM: f64 = 192.0;

impl Plot {
    /// Makes round scales around these ranges.
    pub fn around((x_low, x_high): (f64, f64), (y_low, y_high): (f64, f64)) -> Plot {
        Plot {
            x: Scale::nice(x_low, x_high, LEFT, RIGHT),
            y: Scale::nice(y_low, y_high, BOTTOM, TOP),
        }
    }

    /// Grid, numbers and names of both axes.
    pub fn axes(&self, x_name: &str, y_name: &str) -> Html {
        let mut marks = Html::new();
        for (value, text) in self.y.ticks() {
            let y = self.y.at(value);
            marks.push(line((LEFT, y), (RIGHT, y)).class("grid"));
            marks.push(label(LEFT - 8.0, y + 3.5, &text).class("tick end"));
        }
        for (value, text) in self.x.ticks() {
            let x = self.x.at(value);
            marks.push(line((x, BOTTOM), (x, BOTTOM + 4.0)).class("axis"));
            marks.push(label(x, BOTTOM + 17.0, &text).class("tick middle"));
        }
        marks.push(line((LEFT, BOTTOM), (RIGHT, BOTTOM)).class("axis"));
        marks.push(label((LEFT + RIGHT) / 2.0, HEIGHT - 8.0, x_name).class("name middle"));
        let turned = label(0.0, 0.0, y_name)
            .class("name middle")
            .attr("transform", format!("translate(11 {}) rotate(-90)", (TOP + BOTTOM) / 2.0));
        marks.push(turned);
        marks
    }
}

pub fn line(from: (f64, f64), to: (f64, f64)) -> Tag {
    tag("line").px("x1", from.0).px("y1", from.1).px("x2", to.0).px("y2", to.1)
}

pub fn label(x: f64, y: f64, text: &str) -> Tag {
    tag("text").px("x", x).px("y", y).text(text)
}

pub fn rectangle((x, y): (f64, f64), (width, height): (f64, f64)) -> Tag {
    tag("rect").px("x", x).px("y", y).px("width", width.max(0.0)).px("height", height.max(0.0))
}

pub fn circle((x, y): (f64, f64), radius: f64) -> Tag {
    tag("circle").px("cx", x).px("cy", y).px("r", radius)
}

/// Marks with a text that is shown when the pointer is over them, or by the arrow keys.
pub fn told(text: &str, marks: impl Into<Html>) -> Tag {
    tag("g").class("tip").child(tag("title").text(text)).child(marks)
}

/// `M1 2L3 4…`
pub fn path_through(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    use crate::report::html::px;
    let mut path = String::new();
    for (x, y) in points {
        path.push(if path.is_empty() { 'M' } else { 'L' });
        path.push_str(&format!("{} {}", px(x), px(y)));
    }
    path
}

/// The legend for the colours and dashes of lines.
pub fn legend<'a>(entries: impl IntoIterator<Item = (usize, &'a str)>) -> Html {
    let entry = |(series, name): (usize, &str)| {
        let key = tag("svg")
            .class("key")
            .attr("viewBox", "0 0 22 8")
            .attr("width", 22)
            .attr("height", 8)
            .attr("aria-hidden", "true")
            .child(line((0.0, 4.0), (22.0, 4.0)).class(&format!("series s{series}")));
        tag("li").child(key).text(name)
    };
    tag("ul").class("legend").children(entries.into_iter().map(entry)).into()
}

#[cfg(test)]
mod tests {
    use super::Scale;

    #[test]
    fn ticks_are_round_and_within_the_ends() {
        let texts = |low, high| -> Vec<String> {
            let scale = Scale::nice(low, high, 0.0, 100.0);
            scale.ticks().into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(1.0, 6.0), ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(texts(0.63, 0.71), ["0.62", "0.64", "0.66", "0.68", "0.70", "0.72"]);
        let loss = ["0.62", "0.64", "0.66", "0.68", "0.70", "0.72", "0.74"];
        assert_eq!(texts(0.6326, 0.7252), loss);
        assert_eq!(texts(-3.0, 12.0), ["-5", "0", "5", "10", "15"]);
        // A single value has room around it.
        assert!(texts(5.0, 5.0).len() >= 2);
        assert!(texts(0.0, 0.0).len() >= 2);
    }

    #[test]
    fn places_are_never_outside() {
        let scale = Scale::nice(0.0, 1.0, 10.0, 20.0);
        assert_eq!(
            [-5.0, 0.0, 0.5, 1.0, 9.0].map(|it| scale.at(it)),
            [10.0, 10.0, 15.0, 20.0, 20.0]
        );
    }
}
