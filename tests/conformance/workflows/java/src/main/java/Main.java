import io.dapr.workflows.Workflow;
import io.dapr.workflows.WorkflowActivity;
import io.dapr.workflows.WorkflowActivityContext;
import io.dapr.workflows.WorkflowStub;
import io.dapr.workflows.runtime.WorkflowRuntimeBuilder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import io.dapr.durabletask.Task;

/** `tour` by the official SDK for Java: what it does stands in ../README.md. */
public final class Main {
  public static final class Stamp implements WorkflowActivity {
    @Override
    public Object run(WorkflowActivityContext context) {
      return context.getInput(String.class) + ">java";
    }
  }

  public static final class Tour implements Workflow {
    @Override
    public WorkflowStub create() {
      return context -> {
        String text = context.getInput(String.class);
        String first = context.callActivity("stamp", text, String.class).await();
        List<Task<String>> branches = new ArrayList<>();
        for (int n = 1; n <= 3; n++) {
          branches.add(context.callActivity("stamp", first + n, String.class));
        }
        List<String> stamped = new ArrayList<>(context.allOf(branches).await());
        context.createTimer(Duration.ofMillis(50)).await();
        stamped.add(context.waitForExternalEvent("go", String.class).await());
        context.complete(String.join("|", stamped));
      };
    }
  }

  public static void main(String[] arguments) throws Exception {
    var builder = new WorkflowRuntimeBuilder();
    builder.registerWorkflow("tour", Tour.class).registerActivity("stamp", Stamp.class);
    builder.build().start(true);
  }
}
