//! `user change-password`: somebody for themselves, signed in for this one thing with the password that it replaces.

use std::time::Duration;

use clap::Args;
use gateway_model::secret::Secret;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::args::address;
use crate::exit::{Exit, Failure};
use crate::host::{self, terminal, variable};

/// Change your own password
#[derive(Args, Debug)]
#[command(
    after_help = "It takes no master key: your e-mail address and your password say who you are. The passwords are typed at prompts that do not \
    show them, or come from stdin as two lines, the one that you have first. Wherever else you are signed in, you are no longer.

Example:
  gatewayctl user change-password ada@example.com"
)]
pub(super) struct ChangePassword {
    /// The e-mail address that you sign in with
    email: String,
    /// Admin API of the gateway [env: GATEWAY_ADMIN_URL] [default: http://127.0.0.1:8081]
    #[arg(long, value_name = "URL", value_parser = address)]
    admin_url: Option<String>,
}

/// The admin API, as a browser asks it.
struct Door {
    http: reqwest::Client,
    admin_url: String,
}

const PATIENCE: Duration = Duration::from_secs(30);
const LOCAL: &str = "http://127.0.0.1:8081";

pub(super) async fn run(action: ChangePassword) -> Result<Exit, Failure> {
    let named = action.admin_url.or_else(|| host::variable(variable::ADMIN_URL)).unwrap_or_else(|| LOCAL.to_owned());
    let door = Door::new(named.trim_end_matches('/').to_owned())?;
    let [current, password] = terminal::two_secrets("current password", "new password")?;
    let shown = json!({"email": action.email, "password": current.expose()});
    let (_, cookie) = door.ask(Method::POST, "/admin/session", None, Some(&shown)).await?;
    let cookie = cookie.ok_or_else(|| {
        Failure::new(Exit::Unreachable, format!("{} began no session; is it the admin API?", door.admin_url))
    })?;
    let body = json!({"current": current.expose(), "password": password.expose()});
    let changed = door.ask(Method::PUT, "/admin/session/password", Some(&cookie), Some(&body)).await;
    // The session was for this alone. Where it cannot be ended it runs out by itself.
    let _ = door.ask(Method::DELETE, "/admin/session", Some(&cookie), None).await;
    changed?;
    host::say("your password is changed; wherever else you were signed in, you are no longer");
    Ok(Exit::Done)
}

// === impl Door ===

impl Door {
    fn new(admin_url: String) -> Result<Self, Failure> {
        // A password goes to the address that was named and to no other.
        let builder = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        let is_local = admin_url.starts_with("http://127.") || admin_url.starts_with("http://localhost");
        let builder = if is_local { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| {
            Failure::new(Exit::Unreachable, format!("cannot set up the HTTP client: {}", error.without_url()))
        })?;
        Ok(Self { http, admin_url })
    }

    /// The answer, and the cookie where it gives one.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        cookie: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<(Value, Option<Secret>), Failure> {
        let mut request = self.http.request(method, format!("{}{path}", self.admin_url)).header("x-gateway-csrf", "1");
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| crate::client::unreachable(&self.admin_url, &error))?;
        let status = response.status();
        let set = response.headers().get(header::SET_COOKIE).and_then(|value| value.to_str().ok());
        let cookie = set.and_then(|value| value.split(';').next()).map(Secret::new);
        let answer: Value = response.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok((answer, cookie));
        }
        let message = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or("it does not say why");
        Err(Failure::new(Exit::Refused, format!("{} answered {status}: {message}", self.admin_url)))
    }
}
