//! The stages of `pipe init --audit`: out-of-fold predictions, the audit, and what carries out the decisions
//! of a person.

use super::recipe::Recipe;
use super::wanted::{Wanted, test_reader, tested};

/// The file of the decisions, beside the pipeline.
pub const DECISIONS: &str = "decisions.jsonl";

/// Writes the stages between `ingest` and `split`.
pub fn stages(wanted: &Wanted, line: &mut impl FnMut(&str)) {
    let together = match wanted.proposal.group_conversations {
        true => "\n      group_conversations: true",
        false => "",
    };
    let predicted = if wanted.model.is_some() { "fold_predict" } else { "fold_baseline" };
    let test = tested(wanted, test_reader(wanted));
    line(
        "  fold:                    # five folds, so that every row is predicted by a model that has not",
    );
    line("    uses: split            # seen it");
    line("    foreach: \"${folds}\"");
    line("    inputs: {examples: ingest:train}");
    line("    params:");
    line("      folds: 5");
    line("      fold: \"${item}\"");
    line("      stratify: true");
    line(&format!("      seed: \"${{seed}}\"{together}"));
    line("");
    match wanted.model {
        Some(_) => fine_tuned(wanted, line),
        None => {
            line("  fold_baseline:");
            line("    uses: baseline");
            line("    foreach: \"${folds}\"");
            line("    inputs: {train: \"fold@${item}:train\", valid: \"fold@${item}:valid\"}");
        }
    }
    line("");
    line(
        "  audit:                   # which labels are most likely wrong, and what else is; see audit/audit.md",
    );
    line(&format!(
        "    inputs: {{examples: ingest:train, predictions: \"{predicted}@*:valid\"{test}}}"
    ));
    line("    publish: {issues: audit/issues.jsonl, table: audit/audit.md}");
    line("");
    line("  clean:                   # drops and relabels what you decide on in `pipe review`");
    line(&format!("    inputs: {{examples: ingest:train, decisions: {DECISIONS}}}"));
    line("");
}

fn fine_tuned(wanted: &Wanted, line: &mut impl FnMut(&str)) {
    let rows = (wanted.proposal.rows * 4).div_ceil(5);
    let recipe = Recipe::new(rows, wanted.proposal.labels.len(), wanted.width).for_judging();
    line("  fold_tokenize:");
    line("    uses: tokenize");
    line("    foreach: \"${folds}\"");
    line(
        "    inputs: {train: \"fold@${item}:train\", valid: \"fold@${item}:valid\", model: \"${model}\"}",
    );
    line("    params: {labels: \"${labels}\"}");
    line("");
    line("  fold_finetune:");
    line("    uses: finetune");
    line("    foreach: \"${folds}\"");
    line("    inputs: {train: \"fold_tokenize@${item}:train\", model: \"${model}\"}");
    line("    params:");
    recipe.write(line);
    line("");
    line("  fold_predict:");
    line("    uses: predict");
    line("    foreach: \"${folds}\"");
    line(
        "    inputs: {valid: \"fold_tokenize@${item}:valid\", model: \"fold_finetune@${item}:model\"}",
    );
}
