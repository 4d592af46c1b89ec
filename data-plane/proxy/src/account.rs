//! Who sends a request, found once, and on whose account.

use std::ops::Deref;
use std::sync::Arc;

use gateway_engine::identity::Caller;
use gateway_engine::limits::Scopes;
use gateway_engine::tenants::{Standing, Tenants};
use gateway_ir::failure::Failure;

/// A caller, and whose limits count beside its own.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) caller: Arc<Caller>,
    pub(crate) standing: Standing,
}

// === impl Account ===

impl Account {
    pub(crate) fn new(caller: Arc<Caller>, tenants: &Tenants) -> Result<Self, Box<Failure>> {
        Ok(Self { standing: tenants.standing(&caller)?, caller })
    }

    /// Of nobody in particular.
    pub(crate) fn alone(caller: Arc<Caller>) -> Self {
        Self { caller, standing: Standing::default() }
    }

    pub(crate) fn scopes(&self) -> Scopes {
        self.standing.scopes(&self.caller)
    }
}

impl Deref for Account {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}
