//! SVG charts: scales, axes, and the frame of every chart with a title, a description, and its
//! numbers as a table for readers who cannot see it. Colours are classes of the page's style sheet.

pub mod graph;
pub mod interval;
pub mod lines;
pub mod parallel;
pub mod reliability;
pub mod scatter;

use crate::report::html::{Html, Tag, tag};

/// Unique identifiers within a page.
#[derive(Debug)]
pub struct Ids {
    prefix: char,
    last: usize,
}

impl Default for Ids {
    fn default() -> Ids {
        Ids::of('c')
    }
}

impl Ids {
    /// Those of a part that is drawn apart from the others.
    pub fn of(prefix: char) -> Ids {
        Ids { prefix, last: 0 }
    }

    /// `c1`, `c2` and so on.
    pub fn fresh(&mut self) -> String {
        self.last += 1;
        format!("{}{}", self.prefix, self.last)
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
    /// Extends the range to round numbers, so that both ends have a tick. A range that is less than
    /// a ten-thousandth of its numbers counts as a single number: there is no room for the digits
    /// that would tell the ticks apart.
    pub fn nice(low: f64, high: f64, from: f64, to: f64) -> Scale {
        let (low, high) = match high - low > 1e-4 * low.abs().max(high.abs()) {
            true => (low, high),
            false => (low - around(low) * 0.05, low + around(low) * 0.05),
        };
        let step = step(high - low);
        // Without the rounding errors of the divisions, which would add a tick.
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let (low, high) = (first * step, last * step);
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
        let values: Vec<f64> =
            (0..=count.min(20)).map(|index| (first + index as f64) * step).collect();
        values.iter().copied().zip(apart(&values, step)).collect()
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides the span into four to eight parts.
fn step(span: f64) -> f64 {
    let raw = (span / 5.0).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|it| it * power >= raw * 0.999);
    factor.unwrap_or(10.0) * power
}

/// The size of a single number, by which it is given room; 1 for 0.
fn around(value: f64) -> f64 {
    if value == 0.0 { 1.0 } else { value.abs() }
}

/// Numbers that are at least `step` apart, with as many digits as tell them apart.
pub fn apart(values: &[f64], step: f64) -> Vec<String> {
    let most = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let place = |number: f64| number.log10().floor();
    let text = |value: &f64| {
        if value.abs() < step / 2.0 {
            return "0".to_owned();
        }
        if (1e-4..1e7).contains(&most) {
            let digits = (-place(step)).clamp(0.0, 12.0) as usize;
            return format!("{value:.digits$}");
        }
        let digits = (place(value.abs()) - place(step)).clamp(0.0, 12.0) as usize;
        format!("{value:.digits$e}")
    };
    values.iter().map(text).collect()
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
        // Losses that hardly move; the smallest and the greatest numbers.
        assert_eq!(
            texts(2.00004, 2.00026),
            ["2.00000", "2.00005", "2.00010", "2.00015", "2.00020", "2.00025", "2.00030"]
        );
        assert_eq!(texts(2.00001, 2.00006), ["1.90", "1.95", "2.00", "2.05", "2.10", "2.15"]);
        assert_eq!(texts(0.0, 2e-5), ["0", "5e-6", "1.0e-5", "1.5e-5", "2.0e-5"]);
        // A single value has room around it.
        assert!(texts(5.0, 5.0).len() >= 2);
        assert!(texts(0.0, 0.0).len() >= 2);
    }

    #[test]
    fn no_two_ticks_have_the_same_text() {
        for size in [1e-300, 1e-12, 1e-5, 0.03, 1.0, 2.0, 999.0, 1e6, 3e7, 1e18, 1e300] {
            for span in [0.0, 1e-15, 1e-9, 1e-6, 9e-5, 1.1e-4, 1e-3, 0.01, 0.3, 1.0, 7.0] {
                for low in [size, -size, -size * span / 2.0] {
                    let scale = Scale::nice(low, low + size * span, 0.0, 100.0);
                    let ticks = scale.ticks();
                    let texts: std::collections::BTreeSet<&str> =
                        ticks.iter().map(|(_, text)| text.as_str()).collect();
                    assert!(
                        texts.len() == ticks.len() && ticks.len() > 1,
                        "{low} {span} {ticks:?}"
                    );
                    for (value, text) in &ticks {
                        let read: f64 = text.parse().unwrap();
                        assert!((read - value).abs() < scale.step * 0.51, "{value} as {text}");
                    }
                }
            }
        }
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
