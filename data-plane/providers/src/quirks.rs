//! Quirks by the names that the catalogue and `providers[].quirks` use.

use gateway_ir::parameters;
use gateway_ir::quirks::{Prefill, Quirks};
use gateway_model::catalog;

/// Applies one named quirk.
type Apply = fn(&mut Quirks);

/// Every name that may be declared beside `no_` and a name of [`parameters::NAMES`]. `catalog::QUIRKS` has the same names with
/// their meaning for people.
const NAMED: &[(&str, Apply)] = &[
    ("no_stream_options", |quirks| quirks.no_stream_options = true),
    ("max_tokens_name", |quirks| quirks.max_tokens_name = true),
    ("max_completion_tokens_name", |quirks| quirks.max_completion_tokens_name = true),
    ("random_seed_name", |quirks| quirks.random_seed_name = true),
    ("no_developer_role", |quirks| quirks.no_developer_role = true),
    ("no_tools", |quirks| quirks.no_tools = true),
    ("no_content_arrays", |quirks| quirks.no_content_arrays = true),
    ("stream_only", |quirks| quirks.stream_only = true),
    ("no_completions", |quirks| quirks.no_completions = true),
    ("own_replies", |quirks| quirks.own_replies = true),
    ("prefill", |quirks| quirks.prefill = Some(Prefill::Plain)),
    ("prefill_prefix", |quirks| quirks.prefill = Some(Prefill::Marked("prefix"))),
    ("prefill_partial", |quirks| quirks.prefill = Some(Prefill::Marked("partial"))),
    ("prefill_echo", |quirks| quirks.prefill_echo = true),
];

/// All named quirks together; the first name nobody knows is the error.
pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Quirks, &'a str> {
    let mut quirks = Quirks::default();
    for name in names {
        let lacked = || {
            let parameter = name.strip_prefix("no_")?;
            parameters::NAMES.iter().find(|(known, _)| *known == parameter)
        };
        if let Some((_, apply)) = NAMED.iter().find(|(known, _)| *known == name) {
            apply(&mut quirks);
        } else if let Some((_, parameter)) = lacked() {
            quirks.lacks = quirks.lacks.with(*parameter);
        } else {
            return Err(name);
        }
    }
    Ok(quirks)
}

/// What a row of the catalogue, or one of its profiles, declares.
pub fn declared(names: &[String], max_stops: Option<usize>) -> Result<Quirks, &str> {
    named(names.iter().map(String::as_str)).map(|quirks| Quirks { max_stops, ..quirks })
}

/// What a row's profiles say of a model, together.
pub fn of_model(row: &catalog::Row, model: &str) -> Quirks {
    let profiles = row.profiles.iter().filter(|profile| profile.covers(model));
    let declared = profiles.filter_map(|profile| declared(&profile.quirks, profile.max_stops).ok());
    declared.fold(Quirks::default(), Quirks::and)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_catalogue_and_this_table_name_the_same_quirks() {
        let documented: BTreeSet<&str> = catalog::QUIRKS.iter().map(|(name, _)| *name).collect();
        let lacked = parameters::NAMES.iter().map(|(name, _)| format!("no_{name}"));
        let known: BTreeSet<String> = NAMED.iter().map(|(name, _)| (*name).to_owned()).chain(lacked).collect();
        assert_eq!(documented, known.iter().map(String::as_str).collect());
    }

    #[test]
    fn every_row_of_the_catalogue_names_known_quirks() {
        for row in catalog::rows() {
            assert_eq!(declared(&row.quirks, row.max_stops).err(), None, "{}", row.id);
            for profile in &row.profiles {
                let quirks = declared(&profile.quirks, profile.max_stops);
                let says = |quirks| quirks != Quirks::default() || profile.vocabulary.is_some();
                assert!(quirks.is_ok_and(says), "{}: {profile:?}", row.id);
            }
        }
    }

    #[test]
    fn each_name_changes_one_thing_and_unknown_ones_are_told() {
        for (name, _) in catalog::QUIRKS {
            assert_ne!(named([*name]), Ok(Quirks::default()), "{name}");
        }
        assert_eq!(named(["no_tools", "nonsense"]), Err("nonsense"));
    }
}
