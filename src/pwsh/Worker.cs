using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Management.Automation;
using System.Text.Json;
using SecretBridge.Pode;

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

    private static IDictionary? s_fed;
    private static object? s_fedReply;
    private static bool s_feeding;
    private static long s_id;

    /// <summary>The process's exit code, once <see cref="Next"/> was false.</summary>
    public static int ExitCode { get; private set; }

    /// <summary>
    /// Carries out calls until one has a block to run, which the loop in PowerShell does: then true, and
    /// <see cref="Done"/> is to follow. False where the channel ended or a shutdown was asked.
    /// </summary>
    public static bool Next()
    {
        ExitCode = 0;
        try
        {
            while (s_fed is not null || !s_feeding)
            {
                IDictionary? call = NextCall();
                if (call is null)
                {
                    break;
                }
                if (RouteOf(call) is IDictionary route)
                {
                    s_id = Convert.ToInt64(call["id"]);
                    if (Route.Begin(route))
                    {
                        return true;
                    }
                    Done();
                }
                else if (Carry(call) == "shutdown")
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
        return false;
    }

    /// <summary>Replies to the call whose block has run.</summary>
    public static void Done()
    {
        Route.End();
        HostExit.WhenAsked();
        if (s_feeding)
        {
            s_fedReply = Route.Plain();
        }
        else
        {
            try
            {
                Reply(s_id, "ok", Route.Write);
            }
            catch (BridgeException exception)
            {
                OrderedDictionary fault = Faults.Of(exception, null);
                Reply(s_id, "fault", writer => PlainJson.Write(writer, fault));
            }
        }
        ForgetErrors();
    }

    /// <summary>Has the loop answer one request that did not come over the channel.</summary>
    public static void Feed(IDictionary route)
    {
        OrderedDictionary op = PlainJson.NewObject();
        op["route"] = route;
        s_fed = op;
        s_fedReply = null;
        s_feeding = true;
    }

    /// <summary>The answer to what was fed; the loop serves the channel again.</summary>
    public static object? TakeFed()
    {
        s_feeding = false;
        return s_fedReply;
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
            Reply(id, "ok", writer => PlainJson.Write(writer, ok));
        }
        catch (Exception exception) when (exception is not FlowControlException)
        {
            HostExit.WhenAsked();
            OrderedDictionary fault = Faults.Of(exception, secrets);
            Reply(id, "fault", writer => PlainJson.Write(writer, fault));
        }
        ForgetErrors();
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
        if (VaultCalls.Operations.TryGetValue(name, out Func<IDictionary, List<string>, object?>? call))
        {
            return call(fields, secrets);
        }
        if (!Operations.TryGetValue(name, out ScriptBlock? operation))
        {
            throw new BridgeException("BadCall", $"there is no operation '{name}'");
        }
        return operation.InvokeReturnAsIs(fields, secrets);
    }

    private static IDictionary? NextCall()
    {
        if (s_fed is IDictionary fed)
        {
            s_fed = null;
            OrderedDictionary op = PlainJson.NewObject();
            op["invoke"] = fed;
            OrderedDictionary made = PlainJson.NewObject();
            made["id"] = 0;
            made["op"] = op;
            return made;
        }
        OrderedDictionary? message = Channel.Receive();
        return message is null ? null : message["call"] as IDictionary ?? throw new InvalidOperationException("an answer came that nothing had asked for");
    }

    private static IDictionary? RouteOf(IDictionary call) =>
        Route.Runner is not null && call["op"] is IDictionary op && op["invoke"] is IDictionary invoke ? PlainJson.Bare(invoke["route"]) as IDictionary : null;

    private static void ForgetErrors()
    {
        if (Errors is { Count: > 0 })
        {
            Errors.Clear();
        }
    }

    private static void Reply(long id, string outcome, Action<Utf8JsonWriter> content) => Channel.Send(writer =>
    {
        writer.WriteStartObject("reply");
        writer.WriteNumber("id", id);
        writer.WritePropertyName(outcome);
        content(writer);
        writer.WriteEndObject();
    });
}
