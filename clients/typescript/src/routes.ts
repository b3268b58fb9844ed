// Made by generate.py from the routes of the wire.

/** Where a request is over HTTP. `renamed`: parameters of the query that differ from their field. */
export interface Route {
  method: string;
  path: string;
  renamed?: Record<string, string>;
}

export const ROUTES = {
  activity: {"method": "GET", "path": "/v1/activity"},
  add_backend: {"method": "PUT", "path": "/v1/backends/{name}"},
  add_input: {"method": "POST", "path": "/v1/inputs"},
  add_webhook: {"method": "PUT", "path": "/v1/webhooks/{name}"},
  cancel: {"method": "POST", "path": "/v1/batches/{batch_id}/cancel"},
  check_workflow: {"method": "POST", "path": "/v1/workflows/check"},
  count_images: {"method": "GET", "path": "/v1/images/count"},
  describe_workflow: {"method": "GET", "path": "/v1/workflows/{workflow}/inputs"},
  explain: {"method": "GET", "path": "/v1/explain"},
  forget: {"method": "POST", "path": "/v1/forget"},
  forget_input: {"method": "DELETE", "path": "/v1/inputs/{input}"},
  get_batch: {"method": "GET", "path": "/v1/batches/{batch_id}"},
  get_image: {"method": "GET", "path": "/v1/images/{image}"},
  get_recipe: {"method": "GET", "path": "/v1/images/{image}/recipe"},
  give_up_box: {"method": "POST", "path": "/v1/boxes/{name}/give-up"},
  list_batches: {"method": "GET", "path": "/v1/batches", "renamed": {"before": "cursor"}},
  list_characters: {"method": "GET", "path": "/v1/characters", "renamed": {"before": "cursor"}},
  list_checks: {"method": "GET", "path": "/v1/checks"},
  list_images: {"method": "GET", "path": "/v1/images", "renamed": {"before": "cursor"}},
  list_inputs: {"method": "GET", "path": "/v1/inputs", "renamed": {"before": "cursor"}},
  list_webhooks: {"method": "GET", "path": "/v1/webhooks"},
  move: {"method": "POST", "path": "/v1/move"},
  open_series: {"method": "POST", "path": "/v1/series"},
  pause: {"method": "POST", "path": "/v1/pause"},
  raise_series: {"method": "POST", "path": "/v1/stores/{store}/series"},
  read_log: {"method": "GET", "path": "/v1/events"},
  recover: {"method": "POST", "path": "/v1/recover"},
  remove_backend: {"method": "DELETE", "path": "/v1/backends/{name}"},
  remove_webhook: {"method": "DELETE", "path": "/v1/webhooks/{name}"},
  replay_webhook: {"method": "POST", "path": "/v1/webhooks/{name}/replay"},
  resume: {"method": "POST", "path": "/v1/resume"},
  retry: {"method": "POST", "path": "/v1/batches/{batch_id}/retry"},
  review: {"method": "POST", "path": "/v1/review"},
  server_info: {"method": "GET", "path": "/v1/server"},
  set_priority: {"method": "POST", "path": "/v1/batches/{batch_id}/priority"},
  submit_batch: {"method": "POST", "path": "/v1/batches"},
  survey_store: {"method": "GET", "path": "/v1/stores/{store}/series"},
  test_webhook: {"method": "POST", "path": "/v1/webhooks/{name}/test"},
} satisfies Record<string, Route>;

/** Over HTTP, the events of a subscription. */
export const EVENTS = "/v1/events";

/** PUT takes the bytes of an input file. */
export const INPUTS = "/v1/inputs";

/** Fields that are lists; in a query their values are separated by commas. */
export const LISTS: readonly string[] = ["kinds"];
