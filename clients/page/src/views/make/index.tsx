// Make: a form for each workflow, what it would make while one types, and what was made.
import { info } from "../../live";
import { route } from "../../route";
import { may } from "../../session/session";
import { make as texts } from "../../texts";
import { Empty } from "../../ui/Empty";
import { Page } from "../../ui/Page";
import { Spinner } from "../../ui/Spinner";
import { MakeForm } from "./MakeForm";

export function MakeView() {
  const like = route.value.query.get("like") ?? "";
  return (
    <Page title={like ? texts.again : texts.title}>
      <Content like={like} />
    </Page>
  );
}

function Content({ like }: { like: string }) {
  if (!may("submit_configured")) {
    return (
      <Empty title={texts.readOnly}>
        <p>{texts.readOnlyHint}</p>
      </Empty>
    );
  }
  const workflows = info.value?.workflows;
  if (workflows === undefined) return <Spinner told />;
  if (workflows.length === 0 && !like) {
    return (
      <Empty title={texts.noWorkflows}>
        <p>{texts.noWorkflowsHint}</p>
      </Empty>
    );
  }
  return <MakeForm key={like} like={like} workflows={workflows} />;
}
