//! The way of a request from its body to the scores of its texts.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use stages::builtin::classify::{PreparedText, TextScores};
use stages::data::example::Example;
use tokio::sync::oneshot;

use crate::serve::health::Health;
use crate::serve::log::{Log, LogLevel};
use crate::serve::metrics::Metrics;
use crate::serve::model::{ModelSlot, ServedModel};
use crate::serve::queue::{Job, JobResult, Queue};
use crate::serve::refusal::{Kind, Refusal};
use crate::serve::request::Fields;
use crate::serve::settings::Settings;
use crate::serve::texts::GivenTexts;

/// What all requests share.
pub struct Service {
    pub settings: Settings,
    pub models: ModelSlot,
    pub queue: Arc<Queue>,
    pub metrics: Metrics,
    pub health: Health,
    pub log: Log,
}

/// What a request asks for.
pub struct Asked<R> {
    pub texts: GivenTexts,
    /// Whether texts with more tokens than the model reads are refused, rather than cut as the
    /// pipeline cuts them.
    pub refuses_long: bool,
    /// The side at which longer texts are to be cut, `left` or `right`, if the request names one.
    pub cut_side: Option<&'static str>,
    /// What the route wants to know when the scores are there.
    pub rest: R,
}

/// The scores of a request, and the model that computed them.
pub struct Answered<R> {
    pub model: Arc<ServedModel>,
    /// Those that the texts have; empty for the others.
    pub ids: Vec<String>,
    pub scores: Vec<TextScores>,
    pub is_one: bool,
    pub rest: R,
}

impl Service {
    /// The scores of the texts that `read` finds in a body. It runs on another thread, like
    /// everything that takes longer for a longer text.
    pub async fn answer<R: Send + 'static>(
        self: &Arc<Service>,
        body: Bytes,
        read: impl FnOnce(Fields) -> Result<Asked<R>, Refusal> + Send + 'static,
    ) -> Result<Answered<R>, Refusal> {
        let service = Arc::clone(self);
        let work = move || {
            let asked = read(Fields::of_body(&body)?)?;
            service.enqueue(asked)
        };
        let ending = |_| Refusal::new(Kind::Model, "preparing the texts failed");
        let (answered, scores) = tokio::task::spawn_blocking(work).await.map_err(ending)??;
        let scores = within(self.settings.answer_timeout, scores).await?;
        Ok(Answered { scores, ..answered })
    }

    /// Prepares the texts and puts them into the queue, if there is room.
    fn enqueue<R>(
        &self,
        asked: Asked<R>,
    ) -> Result<(Answered<R>, oneshot::Receiver<JobResult>), Refusal> {
        let Asked { texts, rest, .. } = asked;
        let limits = Limits {
            refuses_long: asked.refuses_long,
            cut_side: asked.cut_side,
            most: self.settings.max_tokens,
        };
        let count = texts.texts.len();
        self.settings.check_count(count, "texts")?;
        let permit = self.queue.admit(count).ok_or_else(|| {
            let problem = format!(
                "the service is busy: {} texts wait, the most is {} (`--queue`)",
                self.queue.admitted(),
                self.settings.queue
            );
            Refusal::new(Kind::Full, problem)
        })?;
        let (model, is_one) = (self.models.get(), texts.is_one);
        let places: Vec<String> = (0..count).map(|at| texts.place(at)).collect();
        let given = texts.texts.into_iter().zip(&places);
        let examples = given.map(|(text, place)| text.example(&model, place));
        let examples: Vec<Example> = examples.collect::<Result<_, _>>()?;
        self.log.add(LogLevel::Texts, || log_line(&examples));
        let each = examples.iter().zip(&places);
        let prepared = each.map(|(text, place)| prepare(&model, text, place, limits));
        let prepared = prepared.collect::<Result<_, _>>()?;
        let ids = examples.into_iter().map(|text| text.id).collect();
        let (job, scores) = Job::new(Arc::clone(&model), prepared, permit);
        self.queue.push(job);
        Ok((Answered { model, ids, scores: Vec::new(), is_one, rest }, scores))
    }
}

/// What limits each text of a request.
#[derive(Clone, Copy)]
struct Limits {
    refuses_long: bool,
    cut_side: Option<&'static str>,
    /// Tokens, of a text that is divided into windows.
    most: usize,
}

fn prepare(
    model: &ServedModel,
    text: &Example,
    place: &str,
    limits: Limits,
) -> Result<PreparedText, Refusal> {
    let prepared = model.prepare(text.clone()).map_err(|error| {
        Refusal::new(Kind::Tokenizer, format!("`{place}` cannot be tokenized: {error}"))
    })?;
    let side = model.cut_side();
    if prepared.is_cut && limits.refuses_long {
        let most = model.classifier.max_length();
        let problem = format!(
            "`{place}` has more than {most} tokens, which is the most that the model reads; \
             `truncate: true` cuts it"
        );
        return Err(Refusal::new(Kind::TooLarge, problem));
    }
    if let Some(other) = limits.cut_side.filter(|it| prepared.is_cut && *it != side) {
        let problem = format!(
            "`{place}` has too many tokens, and the model reads texts that are cut on the {side}, not on the \
             {other} (`truncation_direction`)"
        );
        return Err(Refusal::new(Kind::Shape, problem));
    }
    let (tokens, most) = (prepared.tokens(), limits.most);
    if tokens > most {
        let problem = format!("`{place}` has {tokens} tokens, the most is {most} (`--max-tokens`)");
        return Err(Refusal::new(Kind::TooLarge, problem));
    }
    Ok(prepared)
}

async fn within(
    time: Duration,
    scores: oneshot::Receiver<JobResult>,
) -> Result<Vec<TextScores>, Refusal> {
    match tokio::time::timeout(time, scores).await {
        Ok(Ok(Ok(scores))) => Ok(scores),
        Ok(Ok(Err(problem))) => Err(Refusal::new(Kind::Model, problem)),
        Ok(Err(_)) => Err(Refusal::new(Kind::Model, "the service ends")),
        Err(_) => {
            let seconds = time.as_secs();
            let problem = format!("there is no answer after {seconds} s (`--answer-timeout`)");
            Err(Refusal::new(Kind::Late, problem))
        }
    }
}

fn log_line(texts: &[Example]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("{:?}", text.text)).collect();
    format!("texts: {}", texts.join(", "))
}
