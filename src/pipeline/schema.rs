//! The JSON Schema (draft 2020-12) of `pipeline.yaml`, so that editors complete names and mark
//! mistakes. It is made from the tables that a pipeline is checked against.
//!
//! Wherever a value may be, a text with a variable (`"${seed}"`) may be too.

use serde_json::{Map, Value, json};
use stages::{ParamKind, Stage};

use super::document::{STAGE_KEYS, TOP_KEYS};
use super::remote_settings::Trust;
use super::remotes::REMOTE_KEYS;
use super::request::ExecutorName;

/// The version of JSON Schema.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of pipelines that use these built-ins.
pub fn schema(builtins: &[&dyn Stage]) -> Value {
    let mut definitions = Map::new();
    definitions.insert("stage".to_owned(), stage(builtins));
    for builtin in builtins {
        definitions.insert(builtin.name().to_owned(), of_builtin(*builtin));
    }
    json!({
        "$schema": DRAFT,
        "title": "pipeline.yaml of pipe",
        "type": "object",
        "required": ["stages"],
        "additionalProperties": false,
        "properties": properties(&TOP_KEYS, |key| top_key(key, builtins)),
        "$defs": definitions,
    })
}

fn properties(keys: &[&str], of: impl Fn(&str) -> Value) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), of(key))).collect::<Map<_, _>>().into()
}

fn top_key(key: &str, builtins: &[&dyn Stage]) -> Value {
    match key {
        "vars" => described(
            "variables, used as ${name}; overridden by a profile and by --set",
            json!({"type": ["object", "null"]}),
        ),
        "profiles" => described(
            "named sets of overrides, for --profile: a variable, `stage.parameter` or \
             `stage.inputs.name`, and its value",
            json!({"type": ["object", "null"], "additionalProperties": {"type": ["object", "null"]}}),
        ),
        "resources" => described("how many units of each resource there are: {gpu: 2}", counts()),
        "remotes" => described(
            "other places that hold results, for `push`, `pull` and `run --remote`",
            json!({"type": ["object", "null"], "additionalProperties": remote()}),
        ),
        "executor" => described("the executor of stages that name none", executor()),
        "slurm" => {
            let mut properties = requested();
            properties.insert("gpu".to_owned(), count());
            described(
                "default requests to Slurm",
                json!({
                    "type": ["object", "null"],
                    "additionalProperties": false,
                    "properties": properties,
                }),
            )
        }
        "sweeps" => described(
            "named combinations of overrides, for `pipe sweep NAME`",
            json!({"type": ["object", "null"], "additionalProperties": sweep()}),
        ),
        "stages" => {
            let named = |builtin: &&dyn Stage| (builtin.name().to_owned(), named_stage(*builtin));
            described(
                "the stages; their order does not matter",
                json!({
                    "type": "object",
                    "minProperties": 1,
                    "properties": builtins.iter().map(named).collect::<Map<_, _>>(),
                    "additionalProperties": {"$ref": "#/$defs/stage"},
                }),
            )
        }
        _ => json!(true),
    }
}

/// A stage with the name of a built-in runs that built-in, unless it has `uses` or `run`.
fn named_stage(builtin: &dyn Stage) -> Value {
    json!({
        "allOf": [
            {"$ref": "#/$defs/stage"},
            {
                "if": {"not": {"anyOf": [{"required": ["uses"]}, {"required": ["run"]}]}},
                "then": {"$ref": format!("#/$defs/{}", builtin.name())},
            },
        ],
    })
}

fn stage(builtins: &[&dyn Stage]) -> Value {
    let by_use = |builtin: &&dyn Stage| {
        json!({
            "if": {"required": ["uses"], "properties": {"uses": {"const": builtin.name()}}},
            "then": {"$ref": format!("#/$defs/{}", builtin.name())},
        })
    };
    json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties(&STAGE_KEYS, |key| stage_key(key, builtins)),
        "allOf": builtins.iter().map(by_use).collect::<Vec<_>>(),
    })
}

fn stage_key(key: &str, builtins: &[&dyn Stage]) -> Value {
    let map = |of: Value| json!({"type": ["object", "null"], "additionalProperties": of});
    let texts = json!({"type": "array", "items": {"type": "string"}});
    match key {
        "uses" => {
            let names: Vec<&str> = builtins.iter().map(|builtin| builtin.name()).collect();
            described(
                "the built-in; by default the stage's own name",
                or_variable(json!({"enum": names})),
            )
        }
        "run" => described(
            "a shell command; finds $IN_name, $OUT_name, $PARAM_name",
            json!({"type": "string"}),
        ),
        "inputs" => described("from the name of an input to its source", map(source())),
        "params" => described("parameters", json!({"type": ["object", "null"]})),
        "outputs" => described(
            "the outputs that a command writes: their names, or a map from names to file names",
            json!({"anyOf": [texts, map(json!({"type": "string", "pattern": "^[^/]+$"}))]}),
        ),
        "publish" => described(
            "from an output to the path that it is copied to after the stage",
            map(json!({"type": "string"})),
        ),
        "env" => described("the environment variables that the command depends on", texts),
        "salt" => described(
            "any text; change it to discard earlier results",
            json!({"type": ["string", "number"]}),
        ),
        "foreach" => described(
            "a list, or a map from short names to values: a variant of the stage for each",
            or_variable(json!({"type": ["array", "object"]})),
        ),
        "matrix" => described(
            "a variant of the stage for each combination",
            map(or_variable(json!({"type": ["array", "object"]}))),
        ),
        "frozen" => described(
            "never runs; its newest result is used",
            or_variable(json!({"type": "boolean"})),
        ),
        "always" => described("runs every time", or_variable(json!({"type": "boolean"}))),
        "retries" => described(
            "how often it is started again after a failure",
            or_variable(json!({"type": "integer", "minimum": 0})),
        ),
        "timeout" => {
            described("how long one attempt may take: 90s, 30m, 2h 15m", json!({"type": "string"}))
        }
        "resources" => {
            let mut schema = counts();
            schema["properties"] = requested().into();
            described(
                "the resources it holds while it runs, {gpu: 1}, and its requests to Slurm, \
                 {memory: 8G}",
                schema,
            )
        }
        "executor" => described("where it runs", executor()),
        _ => json!(true),
    }
}

/// The inputs and parameters of a built-in, and the outputs that it can publish.
fn of_builtin(builtin: &dyn Stage) -> Value {
    let inputs = builtin.inputs().iter();
    let inputs = inputs.map(|input| (input.name.to_owned(), described(input.doc, source())));
    let params = builtin.params().iter().map(|param| {
        let mut schema = or_variable(of_kind(param.kind));
        if let Some(default) = param.default.value() {
            schema["default"] = default;
        }
        (param.name.to_owned(), described(param.doc, schema))
    });
    let outputs = builtin
        .outputs()
        .iter()
        .map(|output| (output.name.to_owned(), described(output.doc, json!({"type": "string"}))));
    let required = builtin.inputs().iter().filter(|input| input.required);
    let closed = |properties: Map<String, Value>| json!({"properties": properties, "additionalProperties": false});
    let mut all_inputs = closed(inputs.collect());
    all_inputs["required"] = required.map(|input| input.name).collect();
    json!({
        "description": builtin.summary(),
        "properties": {
            "inputs": all_inputs,
            "params": closed(params.collect()),
            "publish": closed(outputs.collect()),
        },
    })
}

fn of_kind(kind: ParamKind) -> Value {
    let whole = |min: i64, max: i64| {
        let mut schema = json!({"type": "integer", "minimum": min});
        if max != i64::MAX {
            schema["maximum"] = max.into();
        }
        schema
    };
    let number = |min: f64, max: f64| {
        let mut schema = json!({"type": "number"});
        if min != f64::MIN {
            schema["minimum"] = min.into();
        }
        if max != f64::MAX {
            schema["maximum"] = max.into();
        }
        schema
    };
    let word_or = |words: &[&str], other: Value| json!({"anyOf": [{"enum": words}, other]});
    let list = |of: Value| json!({"type": "array", "items": or_variable(of)});
    let map = |of: Value| json!({"type": "object", "additionalProperties": of});
    match kind {
        ParamKind::Bool => json!({"type": "boolean"}),
        ParamKind::Int { min, max } => whole(min, max),
        ParamKind::Float { min, max } => number(min, max),
        ParamKind::Text => json!({"type": "string"}),
        ParamKind::TextOrNull => json!({"type": ["string", "null"]}),
        ParamKind::Choice(words) => json!({"enum": words}),
        ParamKind::WordOrInt { words, min, max } => word_or(words, whole(min, max)),
        ParamKind::WordOrFloat { words, min, max } => word_or(words, number(min, max)),
        ParamKind::WordOrFloatList { words, min, max } => word_or(words, list(number(min, max))),
        ParamKind::TextList => list(json!({"type": "string"})),
        ParamKind::FloatList { min, max } => list(number(min, max)),
        ParamKind::TextMap => map(json!({"type": "string"})),
        ParamKind::FloatMap { min, max } => map(number(min, max)),
    }
}

/// The value of an input.
fn source() -> Value {
    let one = json!({
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "required": ["url", "blake3"],
                "additionalProperties": false,
                "properties": {
                    "url": {"type": "string"},
                    "blake3": {"type": "string", "pattern": "^([0-9a-f]{64}|.*\\$\\{.*)$"},
                },
            },
        ],
    });
    json!({
        "description": "a path, `stage:output`, `hub:owner/name[@revision]`, an https address \
                        with a full Git commit in its path, or a list of these",
        "anyOf": [one, {"type": "array", "items": one}],
    })
}

fn counts() -> Value {
    json!({"type": ["object", "null"], "additionalProperties": count()})
}

fn count() -> Value {
    or_variable(json!({"type": "integer", "minimum": 0}))
}

fn executor() -> Value {
    or_variable(json!({"enum": ExecutorName::ALL.map(ExecutorName::name)}))
}

/// The keys of `resources` that are requests to a scheduler.
fn requested() -> Map<String, Value> {
    let text = |doc: &str| described(doc, json!({"type": "string"}));
    let whole = || or_variable(json!({"type": "integer", "minimum": 1}));
    let options = or_variable(json!({"type": "array", "items": {"type": "string"}}));
    let named = [
        ("cpus", described("--cpus-per-task", whole())),
        ("memory", text("--mem: 8G, 500M")),
        ("time", text("--time: 30m, 2h 15m")),
        ("partition", text("--partition")),
        ("account", described("--account", json!({"type": ["string", "integer"]}))),
        (
            "requeue",
            described(
                "whether it is queued again after preemption, a failed node or its time limit",
                or_variable(json!({"type": "boolean"})),
            ),
        ),
        ("array_limit", described("how many tasks of an array run at once", whole())),
        ("late_files", text("how long to wait for a file that another host wrote: 60s")),
        (
            "transfer",
            described(
                "how files reach a node: through a shared file system or the remote of the run",
                json!({"enum": ["shared", "remote"]}),
            ),
        ),
        ("options", described("further options of sbatch and srun", options)),
    ];
    named.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// A remote: a folder, a bucket or a web server. The file holds no secrets.
fn remote() -> Value {
    let url = json!({"type": "string", "description": "a folder, s3://bucket/prefix or https://…"});
    let key = |key: &str| match key {
        "url" => url.clone(),
        "endpoint" => {
            described("the address of a server that speaks S3", json!({"type": "string"}))
        }
        "region" => described("the region of the bucket", json!({"type": "string"})),
        "trust" => described(
            "the direction in which results may travel",
            or_variable(json!({"enum": Trust::NAMES})),
        ),
        "timeout" => described("how long to wait for an answer: 10s", json!({"type": "string"})),
        _ => json!(true),
    };
    let full = json!({
        "type": "object",
        "required": ["url"],
        "additionalProperties": false,
        "properties": properties(&REMOTE_KEYS, key),
    });
    json!({"anyOf": [url, full]})
}

/// A sweep. Any key that is not listed here is an axis.
fn sweep() -> Value {
    let assignments = json!({"type": "object"});
    json!({
        "type": "object",
        "properties": {
            "base": assignments,
            "product": assignments,
            "runs": {"type": "array", "items": assignments},
            "metric": {"type": "string", "description": "the metric that the table is sorted by: `score.valid_f1`"},
            "order": {"enum": ["ascending", "descending"]},
            "over": {"type": ["string", "array"]},
        },
    })
}

fn or_variable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "string", "pattern": "\\$\\{"}]})
}

fn described(text: &str, mut schema: Value) -> Value {
    schema["description"] = text.into();
    schema
}
