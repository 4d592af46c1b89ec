//! A whole configuration, and its validation: references resolve, names are unique and well-formed, destinations are allowed.

use crate::kind::key::Key;
use crate::kind::model::Model;
use crate::kind::price::Price;
use crate::kind::provider::Provider;
use crate::kind::route::Route;
use crate::kind::settings::Settings;

/// Everything that is configured, as people name it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    pub settings: Settings,
    pub providers: Vec<Provider>,
    pub prices: Vec<Price>,
    pub models: Vec<Model>,
    /// In the order in which they are tried.
    pub routes: Vec<Route>,
    pub keys: Vec<Key>,
}
