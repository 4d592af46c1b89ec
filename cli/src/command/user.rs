//! `user`: with what people sign in, and who has.

mod own;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host::{self, terminal};
use crate::output::table::{self, Column};
use crate::output::{dash, items, text, when};

/// Give people passwords, invite them, end their sessions
#[derive(Args, Debug)]
#[command(
    after_help = "Who may sign in, and as what, is configuration: `role` and `email` of a user, see `gatewayctl schema user`.

Examples:
  gatewayctl user invite ada
  gatewayctl user set-password ada
  gatewayctl user change-password ada@example.com
  gatewayctl user sessions"
)]
pub(crate) struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    SetPassword(SetPassword),
    ChangePassword(own::ChangePassword),
    Invite(Invite),
    Sessions(Sessions),
    SignOut(SignOut),
}

/// Set the password that a user signs in with
#[derive(Args, Debug)]
#[command(
    after_help = "The password is typed at a prompt that does not show it, or comes from stdin; never from an argument. What was begun \
    with the one before ends.

Examples:
  gatewayctl user set-password ada
  gatewayctl user set-password ada <password.txt"
)]
struct SetPassword {
    /// Name of the user
    user: String,
    #[command(flatten)]
    gateway: Gateway,
}

/// Make a link with which a user chooses a password, once
#[derive(Args, Debug)]
#[command(
    after_help = "Only the link goes to stdout. It is good for three days, and takes the place of one that was made before.

Example:
  gatewayctl user invite ada"
)]
struct Invite {
    /// Name of the user
    user: String,
    #[command(flatten)]
    gateway: Gateway,
}

/// List who is signed in
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl user sessions -o json")]
struct Sessions {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// End a session at once
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl user sign-out 3f9a0c1b2d4e")]
struct SignOut {
    /// Its id, as `gatewayctl user sessions` lists it
    session: String,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(user: User) -> Result<Exit, Failure> {
    match user.action {
        Action::SetPassword(action) => set_password(action).await,
        Action::ChangePassword(action) => own::run(action).await,
        Action::Invite(action) => invite(action).await,
        Action::Sessions(action) => sessions(action).await,
        Action::SignOut(action) => sign_out(action).await,
    }
}

async fn set_password(action: SetPassword) -> Result<Exit, Failure> {
    let client = Client::new(&action.gateway)?;
    let password = terminal::secret("password")?;
    client.say_target();
    let body = json!({"password": password.expose()});
    let target = path(&["users", &action.user, "password"]);
    client.send(Method::PUT, &target, &Query::new(), Some(&body), std::time::Duration::ZERO).await?;
    host::say(&format!("{} has a new password; what was begun with another one has ended", action.user));
    Ok(Exit::Done)
}

async fn invite(action: Invite) -> Result<Exit, Failure> {
    let client = Client::new(&action.gateway)?;
    client.say_target();
    let made = client.post(&path(&["users", &action.user, "invitation"]), None).await?;
    host::say(&format!("good until {}, once; give it to nobody else", text(&made, "/expires_at")));
    host::print(&format!("{}{}\n", client.context().admin_url.trim_end_matches('/'), text(&made, "/path")))?;
    Ok(Exit::Done)
}

async fn sessions(action: Sessions) -> Result<Exit, Failure> {
    const COLUMNS: [Column; 5] = [
        Column::Text("SESSION"),
        Column::Text("WHO"),
        Column::Spare("USER"),
        Column::Text("BEGAN"),
        Column::Spare("ENDS"),
    ];
    let client = Client::new(&action.gateway)?;
    let answer = client.get(&path(&["sessions"]), &Query::new()).await?;
    let line = |row: &Value| {
        vec![
            text(row, "/id"),
            text(row, "/actor"),
            dash(text(row, "/user")),
            when(row, "/began_at"),
            when(row, "/expires_at"),
        ]
    };
    let format = action.output.format;
    format.print(&answer["data"], |rows| table::render(&COLUMNS, items(rows, "").iter().map(line), format.width()))?;
    Ok(Exit::Done)
}

async fn sign_out(action: SignOut) -> Result<Exit, Failure> {
    let client = Client::new(&action.gateway)?;
    client.say_target();
    let target = path(&["sessions", &action.session]);
    client.send(Method::DELETE, &target, &Query::new(), None, std::time::Duration::ZERO).await?;
    host::say(&format!("session {} has ended", action.session));
    Ok(Exit::Done)
}
