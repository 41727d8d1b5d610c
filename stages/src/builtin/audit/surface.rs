//! Surface features of a text: what a model can see of it without understanding it.

use crate::data::example::Example;
use crate::data::marks::Mark;

/// A feature of an example.
pub struct Feature {
    pub name: &'static str,
    pub of: Of,
    /// How to remove it from the data.
    pub remedy: Remedy,
}

/// How a feature is computed.
pub enum Of {
    Number(fn(&Example) -> f64),
    Word(fn(&Example) -> String),
}

/// What to do about a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A parameter of `ingest` removes it, by this line of YAML.
    Ingest(&'static str),
    /// `strip` of `ingest` removes the marks; `remove` does, if all of them are one text (`@USER`).
    Strip(Mark),
    /// Another stage's parameter.
    Other(&'static str),
    /// No parameter removes it.
    None,
    /// No stage reads it, so that it does no harm.
    Unseen,
}

const SPACES: Remedy = Remedy::Ingest("spaces: collapse");

/// All features.
pub const FEATURES: &[Feature] = &[
    number("characters", |it| it.text.chars().count() as f64, Remedy::None),
    number("words", |it| words(it).count() as f64, Remedy::None),
    number("characters_per_word", characters_per_word, Remedy::None),
    number("runs_of_white_space", |it| runs_of_white_space(&it.text), SPACES),
    number("white_space_at_an_end", |it| truth(it.text.trim() != it.text), SPACES),
    number("line_breaks_and_tabs", |it| count(it, |c| matches!(c, '\n' | '\r' | '\t')), SPACES),
    number("spaces_before_punctuation", spaces_before_punctuation, Remedy::None),
    number("punctuation", |it| count(it, |c| c.is_ascii_punctuation()), Remedy::None),
    number("exclamation_marks", |it| count(it, |c| c == '!'), Remedy::Ingest("remove: [\"!\"]")),
    number("question_marks", |it| count(it, |c| c == '?'), Remedy::Ingest("remove: [\"?\"]")),
    number("commas", |it| count(it, |c| c == ','), Remedy::Ingest("remove: [\",\"]")),
    number("full_stops", |it| count(it, |c| c == '.'), Remedy::Ingest("remove: [\".\"]")),
    number("ellipses", ellipses, Remedy::Ingest("remove: [\"...\", \"..\", \"…\"]")),
    number("straight_quotes", |it| count(it, |c| c == '"'), Remedy::Ingest("remove: ['\"']")),
    number(
        "curly_quotes",
        |it| count(it, |c| "‘’“”".contains(c)),
        Remedy::Ingest("remove: [\"‘\", \"’\", \"“\", \"”\"]"),
    ),
    number("brackets", |it| count(it, |c| "()[]{}".contains(c)), Remedy::None),
    number("upper_case", upper_case_share, Remedy::None),
    number(
        "words_in_capitals",
        |it| words(it).filter(|word| is_capitals(word)).count() as f64,
        Remedy::None,
    ),
    number(
        "begins_in_lower_case",
        |it| truth(first_letter(it).is_some_and(char::is_lowercase)),
        Remedy::None,
    ),
    number("digits", |it| count(it, |c| c.is_numeric()), Remedy::None),
    number("links", |it| marks(it, Mark::Links), Remedy::Strip(Mark::Links)),
    number("mentions", |it| marks(it, Mark::Mentions), Remedy::Strip(Mark::Mentions)),
    number("hashtags", |it| marks(it, Mark::Hashtags), Remedy::Strip(Mark::Hashtags)),
    number("emoji", |it| marks(it, Mark::Emoji), Remedy::Strip(Mark::Emoji)),
    number(
        "letters_beyond_ascii",
        |it| count(it, |c| !c.is_ascii() && c.is_alphabetic()),
        Remedy::None,
    ),
    number("odd_characters", |it| marks(it, Mark::Odd), Remedy::Strip(Mark::Odd)),
    number(
        "html_entities",
        html_entities,
        Remedy::Ingest("remove: [\"&amp;\", \"&lt;\", \"&gt;\"]"),
    ),
    number("stretched_words", stretched_words, Remedy::None),
    number(
        "ends_with_punctuation",
        |it| truth(it.text.trim_end().ends_with(['.', '!', '?', '…'])),
        Remedy::None,
    ),
    number(
        "turns_of_context",
        |it| it.context.len() as f64,
        Remedy::Other("`context: 0` of `tokenize` and `baseline`"),
    ),
    number(
        "characters_of_context",
        characters_of_context,
        Remedy::Other("`context: 0` of `tokenize` and `baseline`"),
    ),
    number("position_in_the_file", |it| it.line as f64, Remedy::Unseen),
    word("first_word", |it| joined(words(it).take(1)), Remedy::None),
    word("first_two_words", |it| joined(words(it).take(2)), Remedy::None),
    word("last_word", |it| last_words(it, 1), Remedy::None),
    word("last_two_words", |it| last_words(it, 2), Remedy::None),
];

const fn number(name: &'static str, of: fn(&Example) -> f64, remedy: Remedy) -> Feature {
    Feature { name, of: Of::Number(of), remedy }
}

const fn word(name: &'static str, of: fn(&Example) -> String, remedy: Remedy) -> Feature {
    Feature { name, of: Of::Word(of), remedy }
}

/// The words of a text, between white space.
pub fn words(example: &Example) -> impl Iterator<Item = &str> {
    example.text.split_whitespace()
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn count(example: &Example, is: impl Fn(char) -> bool) -> f64 {
    example.text.chars().filter(|character| is(*character)).count() as f64
}

fn marks(example: &Example, mark: Mark) -> f64 {
    mark.occurrences(&example.text).len() as f64
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

fn last_words(example: &Example, count: usize) -> String {
    let all: Vec<&str> = words(example).collect();
    joined(all[all.len().saturating_sub(count)..].iter().copied())
}

fn characters_per_word(example: &Example) -> f64 {
    let (mut characters, mut count) = (0, 0);
    for word in words(example) {
        characters += word.chars().count();
        count += 1;
    }
    characters as f64 / f64::from(count.max(1))
}

fn runs_of_white_space(text: &str) -> f64 {
    let (mut runs, mut length) = (0, 0);
    for character in text.chars() {
        length = if character.is_whitespace() { length + 1 } else { 0 };
        runs += i32::from(length == 2);
    }
    f64::from(runs)
}

fn spaces_before_punctuation(example: &Example) -> f64 {
    let mut before = 'x';
    let mut found = 0;
    for character in example.text.chars() {
        found += i32::from(before == ' ' && ".,;:!?".contains(character));
        before = character;
    }
    f64::from(found)
}

fn upper_case_share(example: &Example) -> f64 {
    let letters = count(example, char::is_alphabetic);
    count(example, char::is_uppercase) / letters.max(1.0)
}

fn first_letter(example: &Example) -> Option<char> {
    let mut plain = words(example).filter(|word| !is_placeholder(word));
    plain.next()?.chars().find(|character| character.is_alphabetic())
}

/// A mention or a link, whose letters say nothing.
fn is_placeholder(word: &str) -> bool {
    [Mark::Mentions, Mark::Links].iter().any(|mark| !mark.occurrences(word).is_empty())
}

fn is_capitals(word: &str) -> bool {
    let letters = word.chars().filter(|character| character.is_alphabetic());
    letters.count() > 1 && !word.chars().any(char::is_lowercase) && !is_placeholder(word)
}

fn html_entities(example: &Example) -> f64 {
    const STARTS: [&str; 5] = ["&amp;", "&lt;", "&gt;", "&quot;", "&#"];
    STARTS.iter().map(|start| example.text.matches(start).count()).sum::<usize>() as f64
}

fn ellipses(example: &Example) -> f64 {
    (example.text.matches("..").count() + example.text.matches('…').count()) as f64
}

fn characters_of_context(example: &Example) -> f64 {
    example.context.iter().map(|turn| turn.chars().count()).sum::<usize>() as f64
}

/// A word with the same letter three times in a row.
fn stretched_words(example: &Example) -> f64 {
    let is_stretched = |word: &&str| {
        let letters: Vec<char> = word.chars().collect();
        letters
            .windows(3)
            .any(|three| three[0].is_alphabetic() && three[0] == three[1] && three[1] == three[2])
    };
    words(example).filter(is_stretched).count() as f64
}
