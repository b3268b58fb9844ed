// What needs a person: parked and failed images, what is paused, checks, webhooks, and the last day.
import { may, session } from "../../session/session";
import { care as texts } from "../../texts";
import { Page } from "../../ui/Page";
import { Checks } from "./Checks";
import { LastDay } from "./LastDay";
import { Needs } from "./Needs";
import { Stopped } from "./Stopped";
import { Webhooks } from "./Webhooks";

export function CareView() {
  const seesAll = may("operate") && session.value?.readAll === true;
  return (
    <Page title={texts.title}>
      <div class="care">
        <div class="stack">
          <Needs />
          <Stopped />
          {seesAll && <Checks />}
        </div>
        <div class="stack">
          <LastDay />
          {seesAll && <Webhooks />}
        </div>
      </div>
    </Page>
  );
}
