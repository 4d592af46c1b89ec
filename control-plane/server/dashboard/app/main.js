// Start: who is signed in decides between the sign-in page and the shell.
import { html, render } from "./lib.js";
import { restore } from "./api.js";
import { place } from "./router.js";
import { applyTheme, session } from "./state.js";
import { Notices, Shell } from "./shell.js";
import { Invitation, SignIn } from "../pages/signin.js";

const App = () => html`
  ${session.value === undefined && html`<div class="sign" aria-busy="true"></div>`}
  ${session.value === null && html`<${place.value.page === "invitation" ? Invitation : SignIn} />`}
  ${session.value && html`<${Shell} />`}
  <${Notices} />
`;

applyTheme();
render(html`<${App} />`, document.getElementById("app"));
restore();
