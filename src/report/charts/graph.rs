//! The graph of a run: a column for each level. An edge that skips a level gets a lane of its own
//! below the stages of that level.

use std::collections::BTreeMap;

use crate::plan::graph::levels;
use crate::report::charts::{Caption, Drawing, Figures, Ids, framed, label, rectangle, told};
use crate::report::html::{Html, px, tag};
use crate::text::terminal::{fit, printable};

/// A stage, drawn as a box.
pub struct Node {
    pub name: String,
    /// How it ended, in one or two words.
    pub state: String,
    /// A class: `ran`, `hit`, `failed` or `skipped`.
    pub class: &'static str,
    /// A full description, shown as a tooltip.
    pub words: String,
}

const NODE: (f64, f64) = (130.0, 46.0);
const ACROSS: f64 = 30.0;
const DOWN: f64 = 14.0;
const LANE: f64 = 8.0;
const MARGIN: f64 = 3.0;

/// An item that takes space in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Stage(usize),
    /// Outputs of this stage that pass the level.
    Lane(usize),
}

pub fn graph(ids: &mut Ids, nodes: &[Node], edges: &[(usize, usize)], figures: Figures) -> Html {
    let levels = levels(nodes.len(), edges);
    let columns = columns(nodes.len(), edges, &levels);
    let middles = middles(&columns, edges, &levels);
    let x = |level: usize| MARGIN + level as f64 * (NODE.0 + ACROSS);
    let mut marks = Html::new();
    for (maker, reader) in edges {
        let (from, to) = (levels[*maker], levels[*reader]);
        let mut at = (x(from) + NODE.0, middles[&(from, Slot::Stage(*maker))]);
        let mut path = format!("M{} {}", px(at.0), px(at.1));
        for level in from + 1..to {
            let y = middles[&(level, Slot::Lane(*maker))];
            path.push_str(&curve(at, (x(level), y)));
            path.push_str(&format!("H{}", px(x(level) + NODE.0)));
            at = (x(level) + NODE.0, y);
        }
        let end = (x(to) - 6.0, middles[&(to, Slot::Stage(*reader))]);
        path.push_str(&curve(at, end));
        marks.push(tag("path").class("edge").attr("d", path));
        let tip = format!("M{} {}l-7 -4v8z", px(end.0 + 6.0), px(end.1));
        marks.push(tag("path").class("arrow").attr("d", tip));
    }
    for (index, node) in nodes.iter().enumerate() {
        let level = levels[index];
        let (left, top) = (x(level), middles[&(level, Slot::Stage(index))] - NODE.1 / 2.0);
        marks.push(drawn(node, left, top));
    }
    let lowest = |((_, slot), middle): (&(usize, Slot), &f64)| middle + size(*slot) / 2.0;
    let height = middles.iter().map(lowest).fold(0.0, f64::max) + MARGIN;
    let width = x(columns.len()) - ACROSS + MARGIN;
    let caption = Caption {
        title: "Which stage reads from which".to_owned(),
        description: format!(
            "{} stages on {} levels; each reads from stages to its left. The table lists all of them.",
            nodes.len(),
            columns.len()
        ),
    };
    framed(ids, &caption, Html::new(), Drawing { width, height, marks, classes: "wide" }, figures)
}

fn drawn(node: &Node, left: f64, top: f64) -> Html {
    let frame = rectangle((left, top), NODE).attr("rx", 6).class("box");
    let sign = tag("path").class("sign").attr("d", sign(node.class, left + 17.0, top + 32.0));
    let name = label(left + 12.0, top + 19.0, &fit(&printable(&node.name), 19)).class("title");
    let state = label(left + 27.0, top + 36.0, &fit(&printable(&node.state), 19)).class("state");
    let all = [frame, sign, name, state].into_iter().collect::<Html>();
    told(&node.words, tag("g").class(&format!("node {}", node.class)).child(all)).into()
}

/// A shape for each state, since not everybody can tell colours apart.
fn sign(class: &str, x: f64, y: f64) -> String {
    let (x, y) = (px(x), px(y));
    match class {
        "ran" => format!("M{x} {y}m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"),
        "hit" => format!("M{x} {y}m-4.5 0.5l3 3l6 -7"),
        "failed" => format!("M{x} {y}m-4 -4l8 8m0 -8l-8 8"),
        _ => format!("M{x} {y}m-4.5 0h9"),
    }
}

fn curve(from: (f64, f64), to: (f64, f64)) -> String {
    if (from.1 - to.1).abs() < 0.5 {
        return format!("L{} {}", px(to.0), px(to.1));
    }
    let middle = (from.0 + to.0) / 2.0;
    format!("C{m} {},{m} {},{} {}", px(from.1), px(to.1), px(to.0), px(to.1), m = px(middle))
}

fn size(slot: Slot) -> f64 {
    if matches!(slot, Slot::Stage(_)) { NODE.1 } else { LANE }
}

fn columns(nodes: usize, edges: &[(usize, usize)], levels: &[usize]) -> Vec<Vec<Slot>> {
    let depth = (0..nodes).map(|node| levels[node] + 1).max().unwrap_or(0);
    let mut columns = vec![Vec::new(); depth];
    for node in 0..nodes {
        columns[levels[node]].push(Slot::Stage(node));
    }
    for (maker, reader) in edges {
        for column in &mut columns[levels[*maker] + 1..levels[*reader]] {
            if !column.contains(&Slot::Lane(*maker)) {
                column.push(Slot::Lane(*maker));
            }
        }
    }
    columns
}

/// The vertical centre of each slot. From left to right, each slot is placed as near as possible to
/// the slots that it comes from, stages before lanes.
fn middles(
    columns: &[Vec<Slot>],
    edges: &[(usize, usize)],
    levels: &[usize],
) -> BTreeMap<(usize, Slot), f64> {
    let mut middles: BTreeMap<(usize, Slot), f64> = BTreeMap::new();
    for (level, column) in columns.iter().enumerate() {
        let wish = |slot: Slot| -> Option<f64> {
            let level = level.checked_sub(1)?;
            let behind = |maker: usize| match levels[maker] == level {
                true => Slot::Stage(maker),
                false => Slot::Lane(maker),
            };
            let makers: Vec<usize> = match slot {
                Slot::Lane(maker) => vec![maker],
                Slot::Stage(node) => {
                    let all = edges.iter().filter(|(_, it)| *it == node).map(|(maker, _)| *maker);
                    // Makers on the previous level decide, so that a chain of stages is straight.
                    let near = |maker: &usize| levels[*maker] == level;
                    let (near, far): (Vec<usize>, Vec<usize>) = all.partition(near);
                    if near.is_empty() { far } else { near }
                }
            };
            let heights = makers.iter().filter_map(|it| middles.get(&(level, behind(*it))));
            let heights: Vec<f64> = heights.copied().collect();
            (!heights.is_empty()).then(|| heights.iter().sum::<f64>() / heights.len() as f64)
        };
        let mut wishes: Vec<(Slot, f64)> =
            column.iter().map(|slot| (*slot, wish(*slot).unwrap_or(0.0))).collect();
        wishes.sort_by(|one, two| one.1.total_cmp(&two.1).then(one.0.cmp(&two.0)));
        let mut bottom = MARGIN - DOWN;
        for (slot, wish) in wishes {
            let half = size(slot) / 2.0;
            let middle = f64::max(bottom + DOWN + half, wish);
            middles.insert((level, slot), middle);
            bottom = middle + half;
        }
    }
    middles
}
