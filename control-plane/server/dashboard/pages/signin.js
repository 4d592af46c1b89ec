// The way in: an e-mail address and a password, or the master key; shown once to the server and kept nowhere in the browser.
import { html, useState } from "../app/lib.js";
import { acceptInvitation, signIn, signInAs } from "../app/api.js";
import { go, place } from "../app/router.js";
import { notify, read, write } from "../app/state.js";
import { Button, Segments, Text, Wrong } from "../app/ui.js";

const KEY = "key";
const PERSON = "person";
const PROVIDER = "provider";

function Door({ title, about, verb, act, foot, children }) {
  const [state, setState] = useState({ busy: false, error: null });
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null });
    try {
      await act();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<main class="sign"><form class="card" onSubmit=${submit}>
    <div class="brand"><img src=${import.meta.resolve("../style/icon.svg")} alt="" />Gateway</div>
    <div><h1>${title}</h1><p class="quiet note">${about}</p></div>
    <${Wrong} error=${state.error} />
    ${children}
    <${Button} tone="main" busy=${state.busy} type="submit">${verb}<//>
    <p class="small quiet">${foot}</p>
  </form></main>`;
}

export function SignIn() {
  const [way, setWay] = useState(read("signin") ?? KEY);
  const [key, setKey] = useState("");
  const [person, setPerson] = useState({ email: "", password: "" });
  const choose = (next) => {
    setWay(next);
    write("signin", next);
  };
  const withKey = async () => {
    try {
      await signIn(key.trim());
    } catch (error) {
      throw error.status === 401 ? { message: "this is not the master key of this gateway" } : error;
    }
  };
  const ways = {
    [KEY]: withKey,
    [PERSON]: () => signInAs(person.email.trim(), person.password),
    [PROVIDER]: () => location.assign("/admin/oidc/begin"),
  };
  const about = way === KEY ? html`For the first steps, and for emergencies. It stands in <code>master.key</code> in the data directory, and in the ready file.` : way === PERSON ? "With the address and the password that you chose when you were invited." : "With the account that you have at your company.";
  return html`<${Door} title="Sign in" about=${about} verb=${way === PROVIDER ? "Continue" : "Sign in"} act=${ways[way]} foot="The session lasts 12 hours and ends when you sign out. What you type is not kept in this browser.">
    <${Segments} whole label="How" value=${way} onValue=${choose} options=${[[PERSON, "E-mail"], [PROVIDER, "Single sign-on"], [KEY, "Master key"]]} />
    ${way === PROVIDER && html`<p class="note">The identity provider that this gateway is configured with asks who you are, and sends you back.</p>`}
    ${way === KEY
      ? html`<${Text} label="Master key" type="password" value=${key} onValue=${setKey} placeholder="gw_master_…" autofocus required mono />`
      : way === PERSON && html`<${Text} label="E-mail address" type="email" autocomplete="username" value=${person.email} onValue=${(email) => setPerson({ ...person, email })} autofocus required />
        <${Text} label="Password" type="password" autocomplete="current-password" value=${person.password} onValue=${(password) => setPerson({ ...person, password })} required />`}
  <//>`;
}

/** `#/invitation/TOKEN`: the address bar's part that browsers send to nobody. */
export function Invitation() {
  const [password, setPassword] = useState("");
  const accept = async () => {
    await acceptInvitation(place.value.parts[0] ?? "", password);
    notify("Your password is set. Sign in with it.");
    write("signin", PERSON);
    go("overview");
  };
  return html`<${Door} title="Choose a password" about="You have been invited to this gateway." verb="Set password" act=${accept} foot="Of 10 characters or more. The invitation is good once.">
    <${Text} label="New password" type="password" autocomplete="new-password" value=${password} onValue=${setPassword} minlength="10" autofocus required />
  <//>`;
}
