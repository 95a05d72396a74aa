"""What happens without a request: tasks, the workers that run them, cron jobs and jobs."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana import promql as q
from grafana.frame import TASKS, Section, frame
from grafana.panels import (
    BLUE,
    GREEN,
    NO_JOBS,
    NO_TASKS,
    NO_WORKERS,
    ORANGE,
    PURPLE,
    RED,
    Column,
    Query,
    Text,
    graph,
    rows,
    stat,
)

# Every process sees the same queue. A name that one version does not know is its `other`.
NO_TASK = f"max(tasks_waiting{{{q.QUEUE}}}) * 0"
KNOWN = f'{q.QUEUE}, task!="other"'
OUTCOMES = {"^done$": GREEN, "^retried$": ORANGE, "^failed$": RED, "^put_back$": BLUE, "^lost$": PURPLE}
WANTED = f"kube_deployment_spec_replicas{{{q.WORKERS}}}"
READY = f"kube_deployment_status_replicas_ready{{{q.WORKERS}}}"
BEGUN = f"kube_job_status_start_time{{{q.JOBS}}}"
ENDED = f"kube_job_status_completion_time{{{q.JOBS}}}"
STILL = f"kube_job_status_active{{{q.JOBS}}}"


def build() -> Dashboard:
    return frame(
        TASKS,
        "Tasks, workers and jobs",
        "Whether what happens without a request happens, and in time.",
        [HEALTH, QUEUE, WORKERS, JOBS],
        workers=True,
    )


def by_task(metric: str) -> str:
    return f"max by (task) ({metric}{{{q.QUEUE}}})"


def of_cron_jobs(metric: str) -> str:
    return f"max by (cronjob) (kube_cronjob_{metric}{{{q.CRON_JOBS}}})"


def duration(share: float) -> str:
    buckets = q.rate("task_duration_seconds_bucket", q.QUEUE)
    quantile = f"histogram_quantile({share}, sum by (le, task) ({buckets})) >= 0"
    return q.or_none(quantile, "task", value=NO_TASK)


HEALTH = Section("", [
    stat(
        Text("Tasks waiting", "Tasks in the queue that have not failed for good: due, due later, or running.",
             "A number that only grows.", "See below whether they are done, and which of them wait for long."),
        f"sum({by_task('tasks_waiting')})", "none", fine=BLUE, decimals=0, absent=NO_TASKS,
    ),
    stat(
        Text("Oldest due task", "For how long the oldest task that is due has waited.",
             "Minutes: more comes than is done, or the queue stands still.",
             "See the attempts below: none at all, or all of them failing, or simply too few workers."),
        f"max(tasks_oldest_seconds{{{KNOWN}}})", "s", [(60, ORANGE), (300, RED)], absent=NO_TASKS,
    ),
    stat(
        Text("Failed tasks", "Tasks that have failed in each of their attempts, and are kept.",
             "Any: somebody must decide what becomes of them.",
             "`python -m app tasks` in a pod shows them; `--retry ID` and `--drop ID` decide."),
        f"sum({by_task('tasks_failed')})", "none", [(1, ORANGE)], decimals=0, absent=NO_TASKS,
    ),
    stat(
        Text("Unknown tasks", "Tasks that wait and that no pod has code for.", "Any that stay after a rollout.",
             "Bring back a version that knows them: the log names them."),
        f'min(tasks_waiting{{{q.QUEUE}, task="other"}})', "none", [(1, ORANGE)], decimals=0, absent=NO_TASKS,
    ),
    stat(
        Text("Workers ready", "Share of the wanted pods of all workers that are ready.",
             "Less than all for longer than a rollout takes.",
             "See which worker it is below; `kubectl describe pod` tells what its pods wait for."),
        f"clamp_max(sum({READY}) / (sum({WANTED}) > 0), 1) or (sum({WANTED}) == 0) + 1",
        "percentunit", [(0.5, ORANGE), (1, GREEN)], fine=RED, decimals=0, absent=NO_WORKERS,
    ),
    stat(
        Text("Failed Jobs", "Jobs that have failed and are still kept.",
             "Any that no later one has made good.", "The table below says which; their pods' logs tell why."),
        f'count(max by (job_name) (kube_job_failed{{{q.JOBS}, condition="true"}}) == 1) or max({BEGUN}) * 0',
        "none", [(1, ORANGE)], decimals=0, absent=NO_JOBS,
    ),
])  # fmt: skip

QUEUE = Section("Tasks", [
    graph(
        Text("Waiting by name", "Tasks in the queue by name, without those that have failed for good.",
             "A line that only rises.", "More pods, or look for what has made the tasks slower."),
        [Query(by_task("tasks_waiting"), "{{task}}")], "none", absent=NO_TASKS,
    ),
    graph(
        Text("Oldest by name", "For how long the oldest due task of each name has waited.",
             "A line that rises with the clock: none of that name is done.",
             "See the outcomes beside, then the log lines with that task's name."),
        [Query(by_task("tasks_oldest_seconds"), "{{task}}")], "s", [(60, ORANGE), (300, RED)], absent=NO_TASKS,
    ),
    graph(
        Text("Failed by name", "Tasks that have failed for good, by name.", "Any step upwards.",
             "`python -m app tasks` shows their errors; mend the cause, then let them run again."),
        [Query(by_task("tasks_failed"), "{{task}}")], "none", absent=NO_TASKS,
    ),
    graph(
        Text("Attempts by outcome", "Attempts that ended per second, by what came of them: done, to be tried again, "
             "failed for good, put back at a drain, or lost to another pod.",
             "Anything but done that lasts.", "The log has a line with the error of each attempt that failed."),
        [Query(q.or_none(f"sum by (outcome) ({q.rate('task_attempts_total', q.QUEUE)})", "outcome", value=NO_TASK),
               "{{outcome}}")],
        "ops", stacked=True, colors=OUTCOMES, absent=NO_TASKS,
    ),
    graph(
        Text("Duration: half", "Half of the attempts of each name take at most this long.",
             "Longer than before: what the task calls is slow.", "A trace of a task names the slow part."),
        [Query(duration(0.5), "{{task}}")], "s", width=4, absent=NO_TASKS,
    ),
    graph(
        Text("Duration: 99 %", "99 of 100 attempts of each name take at most this long.",
             "Close to the time-out of the task.", "A trace of a task names the slow part."),
        [Query(duration(0.99), "{{task}}")], "s", width=4, absent=NO_TASKS,
    ),
    graph(
        Text("Running, and room", "Tasks that run now, and how many could at once in all pods.",
             "All of the room in use while tasks wait.",
             "More pods; or more at once in each (`APP_TASKS_AT_ONCE`), if tasks wait for others most of their time."),
        [
            Query(f"sum(tasks_running{{{q.QUEUE}}})", "running"),
            Query(f"sum(tasks_running_limit{{{q.QUEUE}}})", "room"),
        ],
        "none", absent=NO_TASKS, colors={"^running$": BLUE, "^room$": RED},
    ),
])  # fmt: skip

WORKERS = Section("Workers", [
    graph(
        Text("Pods wanted and ready", "Pods of each worker.", "Fewer ready than wanted, for longer than a start takes.",
             "`kubectl describe pod` tells what they wait for; `helm rollback` undoes a release that does not start."),
        [
            Query(f"max by (deployment) ({READY})", "{{deployment}} ready"),
            Query(f"max by (deployment) ({WANTED})", "{{deployment}} wanted"),
        ],
        "none", width=6, absent=NO_WORKERS,
    ),
    graph(
        Text("Restarts of workers", "Restarts of each pod's container.", "A staircase: it crashes again and again.",
             "`kubectl logs --previous` shows its last words."),
        [Query(f"max by (pod) (kube_pod_container_status_restarts_total{{{q.WORKERS_PODS}}})", "{{pod}}")],
        "none", width=6, absent=NO_WORKERS,
    ),
    graph(
        Text("CPU of workers", "Cores that each pod uses; a Python process uses one at most.",
             "Close to 1 while tasks wait.", "More pods: more at once in one of them would not help."),
        [Query(f"sum by (pod) ({q.rate('container_cpu_usage_seconds_total', q.WORKERS_PODS)})", "{{pod}}")],
        "none", [(0.8, ORANGE), (1, RED)], width=6, absent=NO_WORKERS,
    ),
    graph(
        Text("Memory of workers", "Memory of each pod.", "A line that only rises, or comes close to the limit.",
             "See which task runs when it rises; raise the worker's limit meanwhile."),
        [Query(f"sum by (pod) (container_memory_working_set_bytes{{{q.WORKERS_PODS}}})", "{{pod}}")],
        "bytes", width=6, absent=NO_WORKERS,
    ),
])  # fmt: skip

JOBS = Section("Cron jobs and jobs", [
    rows(
        Text("Cron jobs", "Each cron job: when it ran last, when it was last done, and when it comes next.",
             "A last run that is later than the last success, and none that runs.",
             "Look for its Job in the table beside; `kubectl logs` of that Job's pods tells why."),
        "cronjob",
        [
            Column("Cron job", label="cronjob"),
            Column("Last run", "dateTimeFromNow", expression=f"1000 * {of_cron_jobs('status_last_schedule_time')}"),
            Column("Last done", "dateTimeFromNow", expression=f"1000 * {of_cron_jobs('status_last_successful_time')}"),
            Column("Next", "dateTimeFromNow", expression=f"1000 * {of_cron_jobs('next_schedule_time')}"),
            Column("Running", "none", expression=of_cron_jobs("status_active")),
            Column("Paused", expression=of_cron_jobs("spec_suspend"),
                   texts=(("0", "no", GREEN), ("1", "yes", ORANGE))),
        ],
        width=12, sort="Cron job", absent=NO_JOBS,
    ),
    rows(
        Text("Jobs", "Jobs that are kept, of cron jobs and of the release: when each began, how long it took or has "
             "been running, and whether it failed.",
             "One that failed; one that takes longer than those before.",
             "`kubectl logs` of its pods tells why; a deadline that is too short is `activeDeadlineSeconds`."),
        "job_name",
        [
            Column("Job", label="job_name"),
            Column("Begun", "dateTimeFromNow", expression=f"1000 * max by (job_name) ({BEGUN})"),
            Column("Took", "s", expression=(
                f"max by (job_name) ({ENDED}) - max by (job_name) ({BEGUN})"
                f" or time() - max by (job_name) ({BEGUN}) and on (job_name) max by (job_name) ({STILL}) > 0")),
            Column("Failed", expression=f'max by (job_name) (kube_job_failed{{{q.JOBS}, condition="true"}})'
                                        f" or max by (job_name) ({BEGUN}) * 0",
                   texts=(("0", "no", GREEN), ("1", "yes", RED))),
        ],
        width=12, sort="Begun", descending=True, absent=NO_JOBS,
    ),
])  # fmt: skip
