using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Management.Automation;

namespace SecretBridge;

/// <summary>
/// The worker's loop and dispatch. One call at a time, in one thread: SecretManagement has one runspace a process, and a call
/// that is never cancelled can never be answered late.
/// </summary>
public static class Worker
{
    /// <summary>The protocol's version.</summary>
    public const int ProtocolVersion = 1;

    /// <summary>Each takes the call's fields and the list of its secret texts, and gives the reply's `ok`.</summary>
    public static Dictionary<string, ScriptBlock> Operations { get; } = new(StringComparer.Ordinal);

    /// <summary>`$Error`, which holds on to what errors were about; that may be a secret.</summary>
    public static ArrayList? Errors { get; set; }

    /// <summary>The process's exit code, once <see cref="Serve"/> has returned.</summary>
    public static int ExitCode { get; private set; }

    /// <summary>Serves the channel until it ends or a shutdown is asked.</summary>
    public static void Serve()
    {
        ExitCode = 0;
        try
        {
            while (Channel.Receive() is OrderedDictionary message)
            {
                if (message["call"] is not OrderedDictionary call)
                {
                    throw new InvalidOperationException("an answer came that nothing had asked for");
                }
                if (Carry(call) == "shutdown")
                {
                    break;
                }
            }
        }
        catch (Exception exception) when (exception is not FlowControlException)
        {
            // Only the wire itself gets here: there is no call to answer any more.
            Console.Error.WriteLine($"worker: the channel broke: {exception.GetType().FullName}");
            ExitCode = 70;
        }
    }

    /// <summary>Carries one call out and replies; gives the operation's name.</summary>
    public static string Carry(IDictionary call)
    {
        long id = Convert.ToInt64(call["id"]);
        List<string> secrets = [];
        string name = "";
        try
        {
            object? fields = null;
            foreach (DictionaryEntry entry in (IDictionary)PlainJson.Bare(call["op"])!)
            {
                (name, fields) = (PlainJson.Text(entry.Key), PlainJson.Bare(entry.Value));
                break;
            }
            object? ok = Perform(name, fields as IDictionary ?? PlainJson.NewObject(), secrets);
            HostExit.WhenAsked();
            Reply(id, "ok", ok);
        }
        catch (Exception exception) when (exception is not FlowControlException)
        {
            HostExit.WhenAsked();
            Reply(id, "fault", Faults.Of(exception, secrets));
        }
        if (Errors is { Count: > 0 })
        {
            Errors.Clear();
        }
        return name;
    }

    private static object? Perform(string name, IDictionary fields, List<string> secrets)
    {
        switch (name)
        {
            case "ping":
                OrderedDictionary heap = PlainJson.NewObject();
                heap["heap"] = GC.GetTotalMemory(false);
                return heap;
            case "shutdown":
                return PlainJson.NewObject();
        }
        if (!Operations.TryGetValue(name, out ScriptBlock? operation))
        {
            throw new BridgeException("BadCall", $"there is no operation '{name}'");
        }
        return operation.InvokeReturnAsIs(fields, secrets);
    }

    private static void Reply(long id, string outcome, object? content) => Channel.Send(writer =>
    {
        writer.WriteStartObject("reply");
        writer.WriteNumber("id", id);
        writer.WritePropertyName(outcome);
        PlainJson.Write(writer, content);
        writer.WriteEndObject();
    });
}
