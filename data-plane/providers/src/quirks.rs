//! Quirks by the names that the catalogue and `providers[].quirks` use.

use gateway_ir::quirks::Quirks;

/// Applies one named quirk.
type Apply = fn(&mut Quirks);

/// Every name that may be declared. `catalog::QUIRKS` has the same names with their meaning for people.
const NAMED: &[(&str, Apply)] = &[
    ("no_stream_options", |quirks| quirks.no_stream_options = true),
    ("max_tokens_name", |quirks| quirks.max_tokens_name = true),
    ("no_developer_role", |quirks| quirks.no_developer_role = true),
    ("no_tools", |quirks| quirks.no_tools = true),
    ("no_content_arrays", |quirks| quirks.no_content_arrays = true),
    ("stream_only", |quirks| quirks.stream_only = true),
    ("no_completions", |quirks| quirks.no_completions = true),
];

/// All named quirks together; the first name nobody knows is the error.
pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Quirks, &'a str> {
    let mut quirks = Quirks::default();
    for name in names {
        let (_, apply) = NAMED.iter().find(|(known, _)| *known == name).ok_or(name)?;
        apply(&mut quirks);
    }
    Ok(quirks)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gateway_model::catalog;

    use super::*;

    #[test]
    fn the_catalogue_and_this_table_name_the_same_quirks() {
        let documented: BTreeSet<&str> = catalog::QUIRKS.iter().map(|(name, _)| *name).collect();
        let known: BTreeSet<&str> = NAMED.iter().map(|(name, _)| *name).collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn every_row_of_the_catalogue_names_known_quirks() {
        for row in catalog::rows() {
            assert_eq!(named(row.quirks.iter().map(String::as_str)).err(), None, "{}", row.id);
        }
    }

    #[test]
    fn each_name_changes_one_thing_and_unknown_ones_are_told() {
        for (name, _) in NAMED {
            assert_ne!(named([*name]), Ok(Quirks::default()), "{name}");
        }
        assert_eq!(named(["no_tools", "nonsense"]), Err("nonsense"));
    }
}
